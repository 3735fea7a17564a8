from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from deeplab_miou import cli


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.random.default_rng(seed).integers(0, 3, (8, 12)).astype(np.uint8)
    assert cv2.imwrite(str(path), ids)


@pytest.fixture
def folders(tmp_path):
    """Two cities named as Cityscapes is: predictions beside labels, one image without a label."""
    for index, name in enumerate(("a/a_1", "a/a_2", "b/b_1")):
        save(tmp_path / "images" / f"{name}_image.png", index)
        save(tmp_path / "images" / f"{name}_other.png", 99)
        if index != 1:
            save(tmp_path / "labels" / f"{name}_ids.png", index)
    return tmp_path


def pack(folders, *more):
    given = (folders / "images", folders / "labels", folders / "bag", *more)
    return cli.main(["pack", *map(str, given)])


def test_folders_become_a_bag_that_is_scored(folders, capsys):
    suffixes = ("--image-suffix", "_image.png", "--label-suffix", "_ids.png")
    assert pack(folders, *suffixes, "--rate", 2, "--image-topic", "/prediction") == 0
    assert "packed 3 images, 2 of them with a label" in capsys.readouterr().out
    bag = folders / "bag"
    given = ["evaluate", str(bag), "--prediction-topic", "/prediction"]
    assert cli.main([*given, "--labels", "demo", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["frames"] == 2
    assert report["miou"] == 1
    assert report["accounting"]["images"]["dropped"] == {"unmatched_image": 1}
    assert report["timeline"]["starts_ns"] == [0, 1_000_000_000]
    assert report["worst_frames"] == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "same name|no label is named like an image"),
        (("--image-suffix", "_image.png"), "at the end with --image-suffix and"),
        (("--image-suffix", ".bmp"), "contains no file that matches '**.bmp' and ends in .png"),
    ],
)
def test_what_does_not_belong_together_is_one_line(folders, capsys, more, message):
    assert pack(folders, *more) == 1
    error = capsys.readouterr().err
    assert any(each in error for each in message.split("|"))
    assert error.count("\n") == 1
    assert not (folders / "bag").exists()


def test_labels_without_an_image_and_jpeg_labels_are_refused(folders, capsys):
    suffixes = ("--image-suffix", "_image.png", "--label-suffix", "_ids.png")
    save(folders / "labels" / "c" / "c_1_ids.png", 1)
    assert pack(folders, *suffixes) == 1
    error = capsys.readouterr().err
    assert "1 of 3 labels have no image, the first is " in error
    assert "c/c_1_ids.png" in error
    save(folders / "jpegs" / "x.jpg", 1)
    save(folders / "pngs" / "x.png", 1)
    given = [str(folders / "pngs"), str(folders / "jpegs")]
    assert cli.main(["pack", *given, str(folders / "bag")]) == 1
    assert "is a JPEG, which changes ids" in capsys.readouterr().err


def test_a_folder_that_is_not_there_and_a_bag_that_is(folders, capsys):
    assert cli.main(["pack", "/none", "/none", str(folders / "bag")]) == 1
    assert "folder '/none' does not exist" in capsys.readouterr().err
    save(folders / "same" / "a" / "a_1_ids.png", 1)
    save(folders / "same" / "b" / "b_1_ids.png", 1)
    given = [str(folders / "same"), str(folders / "labels")]
    (folders / "bag").mkdir()
    assert cli.main(["pack", *given, str(folders / "bag")]) == 3
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        pack(folders, "--rate", "0")
    assert caught.value.code == 2


def test_depth_images_are_not_packed_so_their_topic_cannot_be_named(folders, capsys):
    with pytest.raises(SystemExit) as stopped:
        pack(folders, "--depth-topic", "/depth")
    assert stopped.value.code == 2
    assert "unrecognized arguments: --depth-topic /depth" in capsys.readouterr().err
