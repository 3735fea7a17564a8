"""Images and labels of public data sets are found together, as they lie on the disk."""

from __future__ import annotations

import pytest

from deeplab_miou import cli
from deeplab_miou.bags.file_pairs import find_files, in_natural_order
from deeplab_miou.bags.images import deserialise_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import ConfigurationError

PNG = b"\x89PNG\r\n\x1a\n"
A2D2 = "20180807_145028/{0}/cam_front_center/20180807145028_{0}_frontcenter_{1}.png"
VKITTI = "Scene01/clone/frames/{}/Camera_0/{}_{}"
RELLIS = "00000/pylon_camera_node{}/frame{}-1581624652_750.{}"
# For each data set: image, label, and the options.
SETS = {
    "a2d2": (
        A2D2.format("camera", "{0}"),
        A2D2.format("label", "{0}"),
        ("*/camera/*/*_camera_*.png", "*/label/*/*_label_*.png"),
    ),
    "vkitti": (
        VKITTI.format("rgb", "rgb", "{}.jpg"),
        VKITTI.format("classSegmentation", "classgt", "{}.png"),
        ("**/rgb/*/rgb_*.jpg", "**/classSegmentation/*/classgt_*.png"),
    ),
    "rellis": (
        RELLIS.format("", "{}", "jpg"),
        RELLIS.format("_label_id", "{}", "png"),
        ("*/pylon_camera_node/*.jpg", "*/pylon_camera_node_label_id/*.png"),
    ),
    "uavid": ("seq1/Images/{}.png", "seq1/Labels/{}.png", ("*/Images/*.png", "*/Labels/*.png")),
    "camvid": ("0001TP_{}.png", "0001TP_{}_L.png", ("*TP_??????.png", "*TP_??????_L.png")),
    "kitti_road": (
        "image_2/um_{}.png",
        "gt/um_road_{}.png",
        ("image_2/*_*.png", "gt/*_road_*.png"),
    ),
    "cityscapes": (
        "leftImg8bit/val/ulm/ulm_{}_leftImg8bit.png",
        "gtFine/val/ulm/ulm_{}_gtFine_labelIds.png",
        ("leftImg8bit/**_leftImg8bit.png", "gtFine/**_gtFine_labelIds.png"),
    ),
}


def save(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PNG + bytes([number]))


def clutter(folder):
    """Write what other programs leave: AppleDouble files, thumbnails, a folder with an ending."""
    for path in list(folder.rglob("*.*")):
        save(path.with_name(f"._{path.name}"), 99)
    save(folder / ".thumbnails" / "000001.png", 98)
    (folder / "folder.png").mkdir()


@pytest.mark.parametrize("name", SETS)
def test_a_data_set_is_packed_whole(tmp_path, name, capsys):
    image, label, (image_pattern, label_pattern) = SETS[name]
    folder, bag = tmp_path / "set", tmp_path / "bag"
    for number in range(1, 12):
        save(folder / image.format(f"{number:06d}"), number)
        save(folder / label.format(f"{number:06d}"), 100 + number)
    clutter(folder)
    patterns = ["--image-pattern", image_pattern, "--label-pattern", label_pattern]
    assert cli.main(["pack", str(folder), str(folder), str(bag), *patterns]) == 0
    assert "packed 11 images, 11 of them with a label" in capsys.readouterr().out
    with BagReader(str(bag)) as reader:
        last = [
            deserialise_image(message).image.data[-1] for message in reader.messages(reader.topics)
        ]
    images = [number for number in last if number < 100]
    labels = [number - 100 for number in last if number > 100]
    assert images == labels == list(range(1, 12))


def test_numbers_are_counted_and_not_spelt(tmp_path):
    for number in (1, 2, 10, 11, 100):
        save(tmp_path / f"frame{number}.png", number)
    keys = in_natural_order(set(find_files(tmp_path, "")))
    assert keys == [(f"frame{number}",) for number in (1, 2, 10, 11, 100)]
    assert in_natural_order({("a²",), ("a10",), ("a9",), ("b",)})[:2] == [("a9",), ("a10",)]


def test_one_folder_for_both_is_refused(tmp_path, capsys):
    save(tmp_path / "set" / "1.png", 1)
    given = [str(tmp_path / "set"), str(tmp_path / "set" / ".." / "set"), str(tmp_path / "bag")]
    assert cli.main(["pack", *given]) == 1
    assert "--image-pattern and --label-pattern" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_two_files_of_one_key_are_refused(tmp_path):
    save(tmp_path / "a" / "1.png", 1)
    save(tmp_path / "b" / "1.png", 1)
    save(tmp_path / "b" / "1.PNG", 1)
    assert len(find_files(tmp_path, "*/*.png")) == 2
    with pytest.raises(ConfigurationError, match="with the same text"):
        find_files(tmp_path, "")


def test_images_that_are_no_video_get_a_hint(tmp_path, capsys):
    for number in range(60):
        save(tmp_path / "images" / f"{number}.png", number)
        save(tmp_path / "labels" / f"{number}.png", number)
    given = ["pack", str(tmp_path / "images"), str(tmp_path / "labels")]
    assert cli.main([*given, str(tmp_path / "bag")]) == 0
    assert "they last 6 s at 10 Hz" in capsys.readouterr().out
    assert cli.main([*given, str(tmp_path / "slow"), "--rate", "1"]) == 0
    assert "last" not in capsys.readouterr().out
