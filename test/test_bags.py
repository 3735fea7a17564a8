"""Bags are built in tmp_path; every damage is done to a file that was whole before."""

from __future__ import annotations

import shutil
import sqlite3

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from deeplab_miou.accounting import Reason
from deeplab_miou.bags import COMPRESSED_TYPE, RAW_TYPE, BagMessage, BagReader, BagWriter
from deeplab_miou.errors import BagError, ConfigurationError, FrameError
from deeplab_miou.images import CompressedImage, RawImage

STORAGES = ("mcap", "sqlite3")
SUFFIX = {"mcap": ".mcap", "sqlite3": ".db3"}
HEIGHT, WIDTH = 60, 80
COUNT = 40
SECOND = 1_000_000_000


def picture(index: int) -> RawImage:
    pixels = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return RawImage(HEIGHT, WIDTH, "rgb8", False, WIDTH * 3, pixels.tobytes())  # noqa: FBT003


def write_bag(path, storage="mcap", compression="none", count=COUNT):
    with BagWriter(path, storage, compression) as writer:
        for index in range(count):
            stamp_ns = 100 * SECOND + index * SECOND // 10
            writer.write_image("/camera/image", stamp_ns, "camera", picture(index))
            writer.write_image(
                "/camera/labels", stamp_ns, "camera", CompressedImage("png", b"\x89PNG" + b"x" * 99)
            )
    return path


def storage_file(folder):
    return next(each for each in folder.iterdir() if each.name != "metadata.yaml")


def read_all(reader, **kwargs):
    """Return what was read and the message of the error at its end, if any."""
    messages = []
    try:
        messages.extend(reader.messages(**kwargs))
    except BagError as error:
        return messages, str(error)
    return messages, None


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compression", ["none", "message", "file", "chunk"])
def test_what_was_written_is_read(tmp_path, storage, compression):
    if storage == "sqlite3" and compression == "chunk":
        pytest.skip("chunks are MCAP's")
    write_bag(tmp_path / "bag", storage, compression)
    with BagReader(tmp_path / "bag") as reader:
        assert set(reader.topics) == {"/camera/image", "/camera/labels"}
        assert reader.topics["/camera/image"].type == RAW_TYPE
        assert reader.topics["/camera/labels"].type == COMPRESSED_TYPE
        assert reader.topics["/camera/image"].count == COUNT
        assert reader.topics["/camera/image"].serialization == "cdr"
        assert reader.topics["/camera/image"].qos[0].reliability.name == "RELIABLE"
        assert reader.start_ns == 100 * SECOND
        assert reader.duration_ns == (COUNT - 1) * SECOND // 10
        messages = list(reader.messages(["/camera/image"]))
        assert [each.timestamp_ns for each in messages] == [
            100 * SECOND + index * SECOND // 10 for index in range(COUNT)
        ]
        stamped = reader.decode_image(messages[7])
        assert stamped.stamp_ns == 100 * SECOND + 7 * SECOND // 10
        assert stamped.frame_id == "camera"
        assert isinstance(stamped.image, RawImage)
        assert stamped.image.encoding == "rgb8"
        assert (stamped.image.height, stamped.image.width) == (HEIGHT, WIDTH)
        assert stamped.image.step == WIDTH * 3
        assert bytes(stamped.image.data) == picture(7).data
        label = reader.decode_image(next(reader.messages(["/camera/labels"]))).image
        assert isinstance(label, CompressedImage)
        assert bytes(label.data).startswith(b"\x89PNG")
        assert reader.problems == []


def test_decoding_does_not_copy_the_payload(tmp_path):
    write_bag(tmp_path / "bag", count=1)
    with BagReader(tmp_path / "bag") as reader:
        message = next(reader.messages(["/camera/image"]))
        data = reader.decode_image(message).image.data
    whole = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(whole, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("storage", STORAGES)
def test_times_select_messages(tmp_path, storage):
    write_bag(tmp_path / "bag", storage)
    start = 100 * SECOND
    with BagReader(tmp_path / "bag") as reader:
        got = list(reader.messages(["/camera/image"], start + SECOND, start + 2 * SECOND))
    assert [each.timestamp_ns - start for each in got] == [
        SECOND + index * SECOND // 10 for index in range(10)
    ]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_single_file_and_a_folder_without_metadata_are_bags(tmp_path, storage):
    folder = write_bag(tmp_path / "bag", storage)
    (folder / "metadata.yaml").unlink()
    for path in (folder, storage_file(folder)):
        with BagReader(path) as reader:
            assert reader.topics["/camera/image"].count == COUNT
            assert read_all(reader)[1] is None


def test_split_files_are_read_in_order(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part, first in ((2, 0), (10, 5)):
        with BagWriter(tmp_path / f"part{part}") as writer:
            for index in range(first, first + 5):
                writer.write_image("/camera/image", index, "", picture(index))
        shutil.move(storage_file(tmp_path / f"part{part}"), folder / f"bag_{part}.mcap")
    with BagReader(folder) as reader:
        assert [each.timestamp_ns for each in reader.messages()] == list(range(10))


@pytest.mark.parametrize("compression", ["none", "chunk"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_a_truncated_mcap_yields_all_before_the_cut(tmp_path, compression, kept):
    folder = write_bag(tmp_path / "bag", "mcap", compression, count=200)
    path = storage_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
        images = [reader.decode_image(each) for each in messages if each.type == RAW_TYPE]
    # The payload is incompressible, so the share of bytes kept is the share of messages.
    assert 200 * kept - 15 <= len(images) <= 200
    assert bytes(images[-1].image.data) == picture(len(images) - 1).data
    assert "breaks off" in problem
    assert "its end is missing" in problem


def test_an_mcap_without_its_footer_loses_no_message(tmp_path):
    folder = write_bag(tmp_path / "bag")
    path = storage_file(folder)
    path.write_bytes(path.read_bytes()[:-37])  # footer record and closing magic
    with BagReader(path) as reader:
        assert reader.topics["/camera/image"].count == COUNT
        assert len(read_all(reader)[0]) == 2 * COUNT


def test_a_damaged_chunk_costs_only_its_own_messages(tmp_path):
    folder = write_bag(tmp_path / "bag", "mcap", "chunk", count=300)
    path = storage_file(folder)
    data = bytearray(path.read_bytes())
    frame = data.find(b"\x28\xb5\x2f\xfd", 2_000_000)
    data[frame : frame + 4] = bytes(4)
    path.write_bytes(data)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader, topics=["/camera/image"])
    stamps = [each.timestamp_ns for each in messages]
    assert len(set(stamps)) == len(stamps)
    assert 200 < len(stamps) < 300
    assert stamps[0] == 100 * SECOND
    assert stamps[-1] == 100 * SECOND + 299 * SECOND // 10
    assert "are damaged" in problem


def test_zeroed_records_are_missed(tmp_path):
    folder = write_bag(tmp_path / "bag", count=200)
    path = storage_file(folder)
    data = bytearray(path.read_bytes())
    data[300_000:360_000] = bytes(60_000)
    path.write_bytes(data)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert 200 < len(messages) < 400
    assert f"{400 - len(messages)} of 400 messages are missing" in problem


def test_a_damaged_first_chunk_keeps_the_topics_of_the_index(tmp_path):
    folder = write_bag(tmp_path / "bag", "mcap", "chunk", count=200)
    path = storage_file(folder)
    data = bytearray(path.read_bytes())
    frame = data.find(b"\x28\xb5\x2f\xfd")
    data[frame : frame + 4] = bytes(4)
    path.write_bytes(data)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) > 200
    assert "are damaged" in problem


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_truncated_db3_yields_all_before_the_cut(tmp_path, kept):
    folder = write_bag(tmp_path / "bag", "sqlite3", count=200)
    path = storage_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
        images = [reader.decode_image(each) for each in messages if each.type == RAW_TYPE]
    assert 200 * kept - 15 <= len(images) <= 200
    assert bytes(images[-1].image.data) == picture(len(images) - 1).data
    assert "nothing is readable after message" in problem


def test_a_damaged_page_of_a_db3_costs_only_some_messages(tmp_path):
    folder = write_bag(tmp_path / "bag", "sqlite3", count=200)
    path = storage_file(folder)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 40 * 4096] = b"\xff" * (40 * 4096)
    path.write_bytes(data)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader, topics=["/camera/image"])
    assert len(messages) > 150
    assert len({each.timestamp_ns for each in messages}) == len(messages)
    assert "damaged" in problem


def test_messages_in_a_write_ahead_log_are_read(tmp_path):
    folder = write_bag(tmp_path / "bag", "sqlite3", count=5)
    source = storage_file(folder)
    crashed = tmp_path / "crashed.db3"
    connection = sqlite3.connect(source)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "INSERT INTO messages (topic_id, timestamp, data) "
            "SELECT topic_id, timestamp + 1000, data FROM messages"
        )
        connection.commit()
        shutil.copy(source, crashed)
        shutil.copy(f"{source}-wal", f"{crashed}-wal")
    finally:
        connection.close()
    with BagReader(crashed) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 20
    assert problem is None


def test_a_truncated_compressed_file_yields_its_beginning(tmp_path):
    folder = write_bag(tmp_path / "bag", "mcap", "file", count=200)
    path = storage_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with BagReader(folder) as reader:
        messages, problem = read_all(reader, topics=["/camera/image"])
    assert 60 < len(messages) < 120
    assert "cut short" in problem


def test_a_missing_part_is_reported(tmp_path):
    folder = write_bag(tmp_path / "bag")
    text = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(text.replace("- bag.mcap", "- bag.mcap\n  - bag_1.mcap"))
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert "bag_1.mcap is missing" in problem


def test_broken_metadata_costs_no_message(tmp_path):
    folder = write_bag(tmp_path / "bag")
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: [")
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert "metadata.yaml cannot be used" in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing", None, "does not exist"),
        ("old.bag", b"#ROSBAG V2.0", "ROS 1 bag"),
        ("bag.mcap", b"garbage, certainly no bag", "not an MCAP file"),
        ("bag.mcap", b"", "not an MCAP file"),
        ("bag.db3", b"garbage, certainly no bag" * 500, "not a readable SQLite bag"),
        ("notes.txt", b"hello", "is no bag"),
    ],
)
def test_what_is_no_bag_is_refused(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((BagError, ConfigurationError), match=expected), BagReader(path):
        pass


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"holds no \.mcap or \.db3"), BagReader(tmp_path):
        pass


def test_a_wrong_topic_names_those_that_could_be_meant(tmp_path):
    write_bag(tmp_path / "bag", count=1)
    with BagReader(tmp_path / "bag") as reader:
        with pytest.raises(ConfigurationError) as caught:
            next(reader.messages(["/camera/imag"]))
        assert f"/camera/image ({RAW_TYPE})" in str(caught.value)
        assert f"/camera/labels ({COMPRESSED_TYPE})" in str(caught.value)
        with pytest.raises(ConfigurationError, match="did you mean /camera/image"):
            reader.require("/x", [RAW_TYPE])
        with pytest.raises(ConfigurationError, match="is of type"):
            reader.require("/camera/labels", [RAW_TYPE])


@pytest.mark.parametrize("length", [0, 3, 30, 100, -1])
def test_a_message_that_is_none_is_a_frame_error(tmp_path, length):
    write_bag(tmp_path / "bag", count=1)
    with BagReader(tmp_path / "bag") as reader:
        message = next(reader.messages(["/camera/image"]))
        with pytest.raises(FrameError) as caught:
            reader.decode_image(message._replace(data=message.data[:length]))
        assert caught.value.reason is Reason.TRUNCATED_DATA
        with pytest.raises(ConfigurationError, match="expected sensor_msgs/msg/Image"):
            reader.decode_image(BagMessage("/t", "std_msgs/msg/String", 0, b""))


def test_raw_bytes_are_written_unchanged(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/t", "std_msgs/msg/String", 5, b"\x00\x01\x00\x00garbage")
    with BagReader(tmp_path / "bag") as reader:
        assert list(reader.messages()) == [
            BagMessage("/t", "std_msgs/msg/String", 5, b"\x00\x01\x00\x00garbage")
        ]


@pytest.mark.parametrize("storage", STORAGES)
def test_message_definitions_are_recorded(tmp_path, storage):
    write_bag(tmp_path / "bag", storage, count=1)
    with Reader(tmp_path / "bag") as reader:
        definitions = {each.msgtype: each.msgdef.data for each in reader.connections}
        hashes = [each.digest for each in reader.connections]
    assert "uint8[] data" in definitions[RAW_TYPE]
    assert "MSG: std_msgs/Header" in definitions[RAW_TYPE]
    assert all(each.startswith("RIHS01_") for each in hashes)


def test_a_writer_does_not_overwrite(tmp_path):
    with pytest.raises(BagError, match="exists already"), BagWriter(tmp_path):
        pass


def test_a_crashed_writer_leaves_a_readable_bag(tmp_path):
    def crash():
        with BagWriter(tmp_path / "bag") as writer:
            for index in range(100):
                writer.write_image("/camera/image", index, "", picture(index))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    with BagReader(tmp_path / "bag") as reader:
        messages, problem = read_all(reader)
    assert len(messages) > 50
    assert "breaks off" in problem
