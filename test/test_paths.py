"""Paths as users write them, through the commands that take them."""

from pathlib import Path

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou import cli
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.paths import user_path


def test_home_directory_is_put_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/a.yaml") == Path("/home/me/a.yaml")
    assert user_path("b/~/a.yaml") == Path("b/~/a.yaml")


def test_unknown_user_is_named():
    with pytest.raises(ConfigurationError, match="path '~nobody-here/a' begins with a user's home"):
        user_path("~nobody-here/a")


@pytest.mark.parametrize("option", ["--regions", "--criteria", "--labels", "--output", "--junit"])
def test_unknown_user_in_an_option_is_one_line(tmp_path, capsys, option):
    with BagWriter(tmp_path / "bag") as writer:
        for topic in ("/prediction", "/camera/labels"):
            writer.write_image(topic, 1, "", mono8(np.zeros((4, 6), np.uint8)))
    given = {"--labels": "cityscapes_train_ids", option: "~nobody-here/file"}
    words = [word for pair in given.items() for word in pair]
    command = ["evaluate", str(tmp_path / "bag"), "--prediction-topic", "/prediction", *words]
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("deeplab-miou: ")
    assert "~nobody-here" in said
    assert said.count("\n") == 1
