"""Folders whose files are not called what their metadata says."""

from __future__ import annotations

import shutil

import pytest

from deeplab_miou.bags.compression import zstd
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError, ConfigurationError

COUNT = 40


def storage_file(folder):
    return next(each for each in folder.iterdir() if each.name != "metadata.yaml")


def renamed(folder):
    storage_file(folder).rename(folder / "monday_run.mcap")


def dotted(folder):
    (folder / "metadata.yaml").unlink()
    storage_file(folder).rename(folder / "rosbag2_2024.05.01-10.30.00_0.mcap")


def superscript(folder):
    (folder / "metadata.yaml").unlink()
    storage_file(folder).rename(folder / "\u00b21.mcap")


def beside_hidden_ones(folder):
    (folder / "metadata.yaml").unlink()
    (folder / f"._{storage_file(folder).name}").write_bytes(b"\0\5\26\7" + bytes(4000))
    (folder / ".DS_Store").write_bytes(bytes(100))


def packed_by_hand(folder):
    file = storage_file(folder)
    file.with_name(f"{file.name}.zstd").write_bytes(zstd.compress(file.read_bytes()))
    file.unlink()


def unpacked_by_hand(folder):
    file = storage_file(folder)
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(file.name, f"{file.name}.zstd"))


def packed_and_unpacked(folder):
    file = storage_file(folder)
    (folder / "metadata.yaml").unlink()
    file.with_name(f"{file.name}.zstd").write_bytes(zstd.compress(file.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        renamed,
        dotted,
        superscript,
        beside_hidden_ones,
        packed_by_hand,
        unpacked_by_hand,
        packed_and_unpacked,
    ],
)
def test_each_message_is_read_once_and_nothing_is_missed(write_bag, read_all, change):
    folder = write_bag()
    change(folder)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert problem is None


def test_names_that_begin_with_a_counter_are_in_its_order(tmp_path, picture):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part, first in ((2, 0), (10, 5)):
        with BagWriter(tmp_path / f"part{part}") as writer:
            for index in range(first, first + 5):
                writer.write_image("/camera/image", index, "", picture(index))
        name = f"{part}_drive_2026_05_01-10_30_0{9 - part % 9}.mcap"
        shutil.move(storage_file(tmp_path / f"part{part}"), folder / name)
    with BagReader(folder) as reader:
        assert [each.timestamp_ns for each in reader.messages()] == list(range(10))


def test_a_name_that_cannot_be_one_is_refused():
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(ConfigurationError), BagReader(name):
            pass


def test_a_name_that_is_no_text_is_read(tmp_path, write_bag, read_all):
    for storage, ending in (("mcap", b".mcap"), ("sqlite3", b".db3")):
        folder = write_bag(storage)
        name = bytes(tmp_path) + b"/\xff%20?#" + ending
        shutil.copy(storage_file(folder), name)
        shutil.rmtree(folder)
        with BagReader(name.decode(errors="surrogateescape")) as reader:
            assert len(read_all(reader)[0]) == 2 * COUNT


def test_recordings_of_ros_1_are_named_as_such(tmp_path):
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(ConfigurationError, match="ROS 1"), BagReader(tmp_path):
        pass


def test_a_bag_of_no_messages_opens_and_an_empty_file_does_not(tmp_path, write_bag, read_all):
    with BagReader(write_bag(count=0)) as reader:
        assert read_all(reader) == ([], None)
    (tmp_path / "none.mcap").touch()
    with pytest.raises(BagError), BagReader(tmp_path / "none.mcap"):
        pass
