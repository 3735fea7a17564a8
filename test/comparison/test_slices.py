"""Two networks on the frames of each tag, through the commands, counted by NumPy."""

import json

import numpy as np
import pytest
import tagged_drives as drives

from deeplab_miou.cli import main
from deeplab_miou.comparison.common import Common
from deeplab_miou.comparison.difference import paired_sums


def evaluate(bag, output, topic, *tags):
    command = ["evaluate", *map(str, bag), "--prediction-topic", topic, "--label-topic", "/labels"]
    command += ["--labels", "cityscapes_train_ids", "--output", str(output), "--quiet", *tags]
    assert main(command) == 0


@pytest.fixture
def bags(tmp_path):
    tags = [drives.string(0, "dry"), drives.string(20, "rain"), drives.string(45, "")]
    topics = (*drives.TOPICS, "/perfect")
    return [drives.write_bag(tmp_path / name, tags, topics=topics) for name in ("first", "second")]


def perfect(indices):
    """Return the mIoU of the labels against themselves: the other "network"."""
    matrix = np.zeros((drives.CLASSES, drives.CLASSES + 1), np.int64)
    np.fill_diagonal(matrix, drives.count(indices).sum(axis=1))
    return drives.miou(matrix)


@pytest.mark.parametrize("many", [False, True])
def test_differences_of_slices(tmp_path, bags, many, capsys):
    chosen = bags if many else bags[:1]
    sides = {"a": "/perfect", "b": "/prediction"}
    for side, topic in sides.items():
        evaluate(chosen, tmp_path / side, topic, "--tags-topic", "/tag")
    status = main(
        ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "c")]
    )
    assert status == 0
    content = json.loads((tmp_path / "c" / "compare.json").read_text())
    expected = {"rain": list(range(20, 45)), "dry": list(range(20))}
    assert {each["name"] for each in content["slices"]} == set(expected)
    values = [each["difference"] for each in content["slices"]]
    assert values == sorted(values)
    for each in content["slices"]:
        indices = expected[each["name"]]
        assert each["frames"] == len(indices) * len(chosen)
        assert each["miou_a"] == pytest.approx(perfect(indices))
        assert each["miou_b"] == pytest.approx(drives.miou(drives.count(indices)))
        assert each["lower"] < each["difference"] < each["upper"] < 0
        assert each["verdict"] == "worse"
    assert "slice rain: 1.0000 -> " in capsys.readouterr().out
    for name in ("compare.md", "compare.html"):
        assert "rain" in (tmp_path / "c" / name).read_text()


def test_without_tags_there_are_none(tmp_path, bags):
    for side in ("a", "b"):
        evaluate(bags[:1], tmp_path / side, "/prediction")
    assert (
        main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "c")])
        == 0
    )
    assert json.loads((tmp_path / "c" / "compare.json").read_text())["slices"] == []
    assert "slice" not in (tmp_path / "c" / "compare.md").read_text()


def test_a_running_comparison_knows_no_tags():
    assert Common(paired_sums(2)).slices is None
