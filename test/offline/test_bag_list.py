import os

import pytest

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.offline.bag_list import find_bags, is_single
from deeplab_miou.recording.messages import COMPRESSED_IMAGE, MEAN_IOU, typestore
from deeplab_miou.recording.recording import Recording


@pytest.fixture
def tree(tmp_path):
    """Folders of days with drives, and things that are no drives."""
    for drive in ("mon/front/bag", "mon/rear/bag", "tue/bag", "tue/run_2", "tue/run_10"):
        (tmp_path / drive).mkdir(parents=True)
        (tmp_path / drive / "bag_0.mcap").touch()
    for other in ("tue/.trash", "tue/pictures", "named.mcap"):
        (tmp_path / other).mkdir()
    (tmp_path / "named.mcap" / "metadata.yaml").touch()
    (tmp_path / ".trash.mcap").touch()
    (tmp_path / "tue" / "notes.txt").touch()
    (tmp_path / "loose.db3").touch()
    return tmp_path


def listed(tree, *words):
    return {
        bag.name: os.path.relpath(bag.path, tree)
        for bag in find_bags([str(tree / word) for word in words])
    }


def test_folders_are_searched_for_bags_in_natural_order(tree):
    assert listed(tree, "tue") == {"bag": "tue/bag", "run_2": "tue/run_2", "run_10": "tue/run_10"}
    assert list(listed(tree, "tue")) == ["bag", "run_2", "run_10"]


def test_recordings_that_lie_next_to_the_drives_are_left_out(tree):
    recording = Recording(str(tree / "tue" / "scores"))
    recording.frame("/deeplab_evaluator", 5, b"\0\1\0\0")
    recording.overlay("/deeplab_evaluator", 5, "camera", b"jpeg")
    recording.close()
    # What is recorded of a whole graph is a drive, too.
    with BagWriter(tree / "tue" / "all", typestore=typestore()) as writer:
        writer.add_topic("/camera/image", COMPRESSED_IMAGE)
        writer.add_topic("/miou_publisher/result", MEAN_IOU)
        writer.add_topic("/deeplab_evaluator/overlay", COMPRESSED_IMAGE)
    assert list(listed(tree, "tue")) == ["all", "bag", "run_2", "run_10"]
    for pattern in ("tue/*", "tue/**/*"):
        assert sorted(listed(tree, pattern)) == ["all", "bag", "run_10", "run_2"]
    # Who names it means it.
    assert listed(tree, "tue/scores") == {"scores": "tue/scores"}


def test_names_are_as_long_as_it_takes_to_tell_bags_apart(tree):
    assert listed(tree, "mon", "tue") == {
        "front_bag": "mon/front/bag",
        "rear_bag": "mon/rear/bag",
        "tue_bag": "tue/bag",
        "run_2": "tue/run_2",
        "run_10": "tue/run_10",
    }


def test_names_that_stay_the_same_are_numbered(tmp_path):
    for path in ("a_b/c", "a/b_c", "C", "c"):
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
        (tmp_path / path / "x.mcap").touch()
    names = [name.casefold() for name in listed(tmp_path, "a_b", "a", "C", "c")]
    assert len(set(names)) == len(names) == len(list(tmp_path.glob("**/x.mcap")))


def test_a_pattern_matches_bags_and_folders_of_bags_only(tree):
    assert list(listed(tree, "*")) == [
        "loose",
        "front_bag",
        "rear_bag",
        "named.mcap",
        "tue_bag",
        "run_2",
        "run_10",
    ]
    # Every bag once, though the pattern matches bags, what is in them, and the folders they lie in.
    everything = sorted(listed(tree, "*").values())
    assert sorted(listed(tree, "**/*", "tue", "tue/bag").values()) == everything
    assert sorted(listed(tree, "**").values()) == everything


def test_files_next_to_bags_hide_none_of_them(tree):
    (tree / "tue" / "run_3.mcap").touch()
    drives = ["tue/bag", "tue/run_2", "tue/run_3.mcap", "tue/run_10"]
    assert list(listed(tree, "tue").values()) == drives
    assert set(drives) < set(listed(tree, "").values())
    assert sorted(listed(tree, "").values()) == sorted(listed(tree, "*").values())
    assert not is_single([str(tree / "tue")])


@pytest.mark.parametrize("there", ["pictures/1.png", "metadata.yaml", ".trash/old/x_0.mcap"])
def test_files_of_a_bag_are_one_bag_whatever_else_its_folder_holds(tmp_path, there):
    for name in ("x_0.mcap", "x_1.mcap", there):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    assert is_single([str(tmp_path / "x")])
    assert listed(tmp_path, "x", "x/x_0.mcap") == {"x": "x"}


def test_a_pattern_without_a_bag_is_a_mistake(tree):
    with pytest.raises(ConfigurationError, match=r"no bag matches '.*x\*'"):
        listed(tree, "mon", "x*")


def test_a_bag_whose_name_looks_like_a_pattern_is_that_bag(tree):
    (tree / "run[1]").mkdir()
    (tree / "run[1]" / "x.mcap").touch()
    assert is_single([str(tree / "run[1]")])
    assert listed(tree, "run[1]", "tue/run_2") == {"run[1]": "run[1]", "run_2": "tue/run_2"}


def test_a_folder_whose_name_looks_like_a_pattern_holds_what_matches(tree, monkeypatch):
    (tree / "tue").rename(tree / "[tue]")
    (tree / "t").mkdir()
    runs = ["[tue]/run_2", "[tue]/run_10"]
    for word in ("[tue]/r*", "[tue]/r*/", "[tue]/**/run_*", "?tue]/r*", "[tue]/run_10"):
        assert set(listed(tree, word).values()) <= set(runs)
        assert "[tue]/run_10" in listed(tree, word).values()
    monkeypatch.chdir(tree / "[tue]")
    assert [bag.path for bag in find_bags(["run_*"])] == ["run_2", "run_10"]
    assert [bag.path for bag in find_bags(["../[tue]/run_*"])] == [f"../{each}" for each in runs]


def test_links_are_followed_once(tree):
    (tree / "links").mkdir()
    (tree / "links" / "drive").symlink_to(tree / "tue" / "bag")
    (tree / "links" / "circle").symlink_to(tree / "links")
    assert listed(tree, "links") == {"drive": "links/drive"}
    (tree / "links" / "loose.mcap").touch()
    assert listed(tree, "links") == {"drive": "links/drive", "loose": "links/loose.mcap"}
    (tree / "links" / "loose.mcap").unlink()
    assert listed(tree, "links", "tue/bag") == {"drive": "links/drive"}


def test_a_link_to_a_disk_that_is_not_mounted_is_a_bag_that_is_not_there(tree):
    (tree / "tue" / "run_3").symlink_to(tree / "mounted" / "run_3")
    (tree / "tue" / "readme.md").symlink_to(tree / "tue" / "notes.txt")
    drives = ["tue/bag", "tue/run_2", "tue/run_3", "tue/run_10"]
    assert list(listed(tree, "tue").values()) == list(listed(tree, "tue/*").values()) == drives
    # A missing part of a bag makes no second one.
    (tree / "tue" / "bag" / "bag_1.mcap").symlink_to(tree / "mounted" / "bag_1.mcap")
    assert list(listed(tree, "tue").values()) == drives


@pytest.mark.parametrize("word", ["loose.db3", "tue/bag", "tue/bag/bag_0.mcap", "nowhere", "mon*"])
def test_one_bag_is_no_list(tree, word):
    assert is_single([str(tree / word)]) == (word != "mon*")
    assert not is_single([str(tree / word)] * 2)


def test_an_empty_folder_is_told_as_one_bag_would_be(tree):
    assert is_single([str(tree / "tue" / "pictures")])


def test_names_stay_short_enough_for_a_file_system(tmp_path):
    for path in ("a" * 200, "b" * 200):
        (tmp_path / path / ("c" * 200)).mkdir(parents=True)
        (tmp_path / path / ("c" * 200) / "x.mcap").touch()
    assert list(listed(tmp_path, "a*", "b*")) == ["c" * 200, "c" * 200 + "_2"]


def test_what_no_file_system_takes_is_a_bag_that_is_not_there(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.mcap").touch()
    assert is_single(["y" * 5000])
    assert listed(tmp_path, "a", "é" * 5000) == {"a": "a", "é" * 120: "é" * 5000}
