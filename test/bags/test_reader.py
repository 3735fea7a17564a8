from __future__ import annotations

import shutil

import pytest
import yaml

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, RAW_TYPE
from deeplab_miou.recording.found import is_recording

STORAGES = ("mcap", "sqlite3")
COUNT = 40
SECOND = 1_000_000_000


def storage_file(folder):
    return next(each for each in folder.iterdir() if each.name != "metadata.yaml")


@pytest.mark.parametrize("storage", STORAGES)
def test_times_select_messages(tmp_path, storage, write_bag):
    write_bag(storage)
    start = 100 * SECOND
    with BagReader(tmp_path / "bag") as reader:
        got = list(reader.messages(["/camera/image"], start + SECOND, start + 2 * SECOND))
    assert [each.timestamp_ns - start for each in got] == [
        SECOND + index * SECOND // 10 for index in range(10)
    ]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_single_file_and_a_folder_without_metadata_are_bags(storage, write_bag, read_all):
    folder = write_bag(storage)
    (folder / "metadata.yaml").unlink()
    for path in (folder, storage_file(folder)):
        with BagReader(path) as reader:
            assert reader.topics["/camera/image"].count == COUNT
            assert read_all(reader)[1] is None


def test_split_files_are_read_in_order(tmp_path, picture):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part, first in ((2, 0), (10, 5)):
        with BagWriter(tmp_path / f"part{part}") as writer:
            for index in range(first, first + 5):
                writer.write_image("/camera/image", index, "", picture(index))
        shutil.move(storage_file(tmp_path / f"part{part}"), folder / f"bag_{part}.mcap")
    with BagReader(folder) as reader:
        assert [each.timestamp_ns for each in reader.messages()] == list(range(10))


def test_a_missing_part_is_reported(write_bag, read_all):
    folder = write_bag()
    text = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(text.replace("- bag.mcap", "- bag.mcap\n  - bag_1.mcap"))
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert "bag_1.mcap is missing" in problem


def test_broken_metadata_costs_no_message(write_bag, read_all):
    folder = write_bag()
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: [")
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert "metadata.yaml cannot be used" in problem
    assert "\n" not in problem


def test_metadata_of_any_size_cost_no_memory_and_no_message(write_bag, read_all):
    folder = write_bag()
    with (folder / "metadata.yaml").open("ab") as file:
        file.truncate(2**36)  # a hole, more than there is memory
    assert not is_recording(folder)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert (
        "metadata.yaml cannot be used (ValueError: 68719476736 bytes, at most 4194304 are read)"
        in problem
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing", None, "does not exist"),
        ("old.bag", b"#ROSBAG V2.0", "ROS 1 bag"),
        ("bag.mcap", b"garbage, certainly no bag", "not an MCAP file"),
        ("bag.mcap", b"", "not an MCAP file"),
        ("bag.db3", b"garbage, certainly no bag" * 500, "not a readable SQLite bag"),
        ("notes.txt", b"hello", "is not a bag"),
    ],
)
def test_what_is_no_bag_is_refused(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((BagError, ConfigurationError), match=expected), BagReader(path):
        pass


def test_an_empty_folder_is_refused(tmp_path):
    with (
        pytest.raises(ConfigurationError, match=r"contains no \.mcap or \.db3"),
        BagReader(tmp_path),
    ):
        pass


def rewrite_metadata(folder, **entries):
    """Change what a bag's metadata says, as another recorder would have written it."""
    file = folder / "metadata.yaml"
    metadata = yaml.safe_load(file.read_text())
    metadata["rosbag2_bagfile_information"].update(entries)
    file.write_text(yaml.safe_dump(metadata))


def test_bags_of_other_storage_plugins_are_refused_by_name(write_bag):
    folder = write_bag(count=1)
    (folder / "bag.mcap").rename(folder / "bag.parquet")
    files = ["bag.parquet"]
    rewrite_metadata(folder, storage_identifier="parquet", relative_file_paths=files)
    with (
        pytest.raises(ConfigurationError, match=r"plugin 'parquet', expected mcap.*bag convert"),
        BagReader(folder),
    ):
        pass


@pytest.mark.parametrize(("mode", "ending"), [("FILE", ".lz4"), ("MESSAGE", "")])
def test_bags_of_other_compressions_are_refused_by_name(write_bag, mode, ending):
    folder = write_bag(count=1)
    (folder / "bag.mcap").rename(folder / f"bag.mcap{ending}")
    rewrite_metadata(
        folder,
        compression_format="lz4",
        compression_mode=mode,
        relative_file_paths=[f"bag.mcap{ending}"],
    )
    with (
        pytest.raises(ConfigurationError, match=r"compression 'lz4', expected zstd.*bag convert"),
        BagReader(folder),
    ):
        pass


def test_the_files_tell_more_than_the_plugin_that_metadata_names(write_bag, read_all):
    folder = write_bag(count=3)
    rewrite_metadata(folder, storage_identifier="my_mcap", compression_mode="NONE")
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 6
    assert problem is None


def test_a_wrong_topic_names_those_that_could_be_meant(tmp_path, write_bag):
    write_bag(count=1)
    with BagReader(tmp_path / "bag") as reader:
        with pytest.raises(ConfigurationError) as caught:
            next(reader.messages(["/camera/imag"]))
        assert f"/camera/image ({RAW_TYPE})" in str(caught.value)
        assert f"/camera/labels ({COMPRESSED_TYPE})" in str(caught.value)
        with pytest.raises(ConfigurationError, match="did you mean /camera/image"):
            reader.require("/x", [RAW_TYPE])
        with pytest.raises(ConfigurationError, match="is of type"):
            reader.require("/camera/labels", [RAW_TYPE])


def test_sections_are_seconds_of_the_recording(write_bag):
    start, end = 100 * SECOND, 100 * SECOND + (COUNT - 1) * SECOND // 10
    with BagReader(write_bag(count=COUNT)) as reader:
        assert reader.section() == (start, end + 1)
        assert reader.section(1.5, 2.0) == (start + 3 * SECOND // 2, start + 7 * SECOND // 2)
        assert reader.section(3.0, 60.0) == (start + 3 * SECOND, end + 1)
        with pytest.raises(ConfigurationError, match=r"start is 4 s, .* ends after 3\.9 s"):
            reader.section(4.0)
