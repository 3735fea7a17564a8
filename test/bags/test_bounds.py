"""Files that say they hold more than anybody's memory, or what no recorder writes."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.bags import compression, mcap, mcap_index
from deeplab_miou.bags.compression import unpack, zstd
from deeplab_miou.bags.metadata import read_qos
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import BagError, ConfigurationError

COUNT = 40
LIMIT = 50_000
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
)


def storage_file(folder):
    return next(each for each in folder.iterdir() if each.name != "metadata.yaml")


def text(value):
    return struct.pack("<I", len(value)) + value


def record(opcode, body):
    return struct.pack("<BQ", opcode, len(body)) + body


def write_mcap(path, *records, encoding=b"cdr", summary=b""):
    kind = b"sensor_msgs/msg/Image"
    head = mcap.MAGIC + record(1, text(b"ros2") + text(b""))
    head += record(3, struct.pack("<H", 1) + text(kind) + text(b"ros2msg") + text(b""))
    channel = struct.pack("<HH", 1, 1) + text(b"/image") + text(encoding) + struct.pack("<I", 0)
    head += record(4, channel) + b"".join(records) + record(15, bytes(4))
    footer = record(2, struct.pack("<QQI", len(head) if summary else 0, 0, 0))
    path.write_bytes(head + summary + footer + mcap.MAGIC)


def message(data):
    return record(5, struct.pack("<HIQQ", 1, 0, 7, 7) + data)


@pytest.fixture
def _small_limit(monkeypatch):
    monkeypatch.setattr(compression, "LARGEST_BYTES", LIMIT)
    monkeypatch.setattr(mcap, "LARGEST_BYTES", LIMIT)


@pytest.mark.usefixtures("_small_limit")
@pytest.mark.parametrize("declared", [LIMIT // 2, 10 * LIMIT])
@pytest.mark.parametrize("method", [b"zstd", b"lz4"])
def test_a_chunk_unpacks_to_no_more_than_allowed(tmp_path, read_all, method, declared):
    content = bytes(10 * LIMIT)
    packed = zstd.compress(content) if method == b"zstd" else mcap.lz4.frame.compress(content)
    body = struct.pack("<QQQI", 0, 0, declared, 0) + text(method)
    chunk = record(6, body + struct.pack("<Q", len(packed)) + packed)
    write_mcap(tmp_path / "bag.mcap", message(b"before"), chunk, message(b"after"))
    with BagReader(tmp_path / "bag.mcap") as reader:
        messages, problem = read_all(reader)
    assert [each.data for each in messages] == [b"before", b"after"]
    assert "it unpacks to" in problem


@pytest.mark.usefixtures("_small_limit")
def test_a_message_unpacks_to_no_more_than_allowed(tmp_path, read_all):
    packed = [zstd.compress(bytes(size)) for size in (LIMIT, LIMIT + 1)]
    write_mcap(tmp_path / "bag.mcap", *map(message, packed))
    with BagReader(tmp_path / "bag.mcap") as reader:
        messages, problem = read_all(reader)
    assert [each.data for each in messages] == [bytes(LIMIT)]
    assert f"it unpacks to more than {LIMIT} bytes" in problem


@pytest.mark.parametrize("method", ["zstd", "lz4"])
def test_what_is_unpacked_is_held_once(method):
    """A decompressor that returns everything at once holds it twice for a while."""
    content = bytes(32 * 2**20)
    packed = zstd.compress(content) if method == "zstd" else mcap.lz4.frame.compress(content)
    make = zstd.ZstdDecompressor if method == "zstd" else mcap.lz4.frame.LZ4FrameDecompressor
    tracemalloc.start()
    try:
        assert unpack(make(), packed) == content
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(content) < peak < 1.3 * len(content)


def test_messages_of_a_large_chunk_come_out_in_order_and_are_not_all_copied(tmp_path, monkeypatch):
    """Those that wait for what other chunks hold are bounded, too."""
    monkeypatch.setattr(mcap_index, "_MOST_PENDING_BYTES", 50_000)
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(
        tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP
    ) as writer:  # one chunk
        topic = writer.add_connection("/a", "std_msgs/msg/String", typestore=store)
        for k in range(1000):
            writer.write(topic, k, b"\0\1\0\0" + struct.pack("<I", k) + bytes(1000))
    tracemalloc.start()
    try:
        with BagReader(tmp_path / "bag") as reader:
            numbers = [struct.unpack_from("<I", m.data, 4)[0] for m in reader.messages()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert numbers == [*range(1000)]
    # The chunk of 1 MB and 50 messages, and what the index takes (0.6 MB with Python 3.14).
    assert peak < 1_800_000


def test_a_file_unpacks_to_no_more_than_allowed(tmp_path, write_bag, monkeypatch):
    monkeypatch.setattr(compression, "_LARGEST_FILE", 100_000)
    monkeypatch.setattr(compression, "_LARGEST_RATIO", 10)
    path = tmp_path / "bomb.mcap.zstd"
    path.write_bytes(zstd.compress(bytes(50 * 2**20)))
    problems = []
    compression.decompress_file(path, tmp_path / "unpacked", problems)
    assert "only the beginning is read" in problems[0]
    assert (tmp_path / "unpacked").stat().st_size < 4 * 2**20
    path.write_bytes(zstd.compress(storage_file(write_bag()).read_bytes()))
    problems = []
    compression.decompress_file(path, tmp_path / "unpacked", problems)
    assert problems == []


def test_merge_keys_in_metadata_cost_no_message(write_bag, read_all):
    folder = write_bag()
    metadata = folder / "metadata.yaml"
    metadata.write_text(MERGES + metadata.read_text())
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT
    assert "merge keys" in problem
    assert read_qos(MERGES) == ()
    assert read_qos("[" * 5000) == ()


@pytest.mark.parametrize(
    "changes",
    [
        "ALTER TABLE messages RENAME TO kept; CREATE VIEW messages AS SELECT * FROM kept",
        "ALTER TABLE messages ADD COLUMN more BLOB AS (zeroblob(400000000))",
        "UPDATE topics SET type = x'ff'",
        "DROP TABLE topics",
    ],
)
def test_a_database_that_no_recorder_writes_is_refused(write_bag, changes):
    path = storage_file(write_bag("sqlite3"))
    with sqlite3.connect(path) as connection:
        connection.executescript(changes)
    connection.close()
    with pytest.raises(BagError, match="not a readable SQLite bag"), BagReader(path):
        pass


@pytest.mark.parametrize("value", ["'text'", "6.5", "7"])
def test_rows_without_a_message_cost_no_other(write_bag, read_all, value):
    path = storage_file(write_bag("sqlite3"))
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE messages SET data = {value} WHERE id IN (5, 9)")  # noqa: S608
    connection.close()
    with BagReader(path) as reader:
        messages, problem = read_all(reader)
    assert len(messages) == 2 * COUNT - 2
    assert "damaged" in problem


def test_an_index_that_contradicts_itself_is_not_believed(tmp_path, read_all):
    statistics = struct.pack("<QHIIIIQQ", 2**63, 1, 2**31, 0, 0, 1, 1, 2**63) + text(b"")
    write_mcap(tmp_path / "bag.mcap", message(b"here"), summary=record(11, statistics))
    with BagReader(tmp_path / "bag.mcap") as reader:
        messages, problem = read_all(reader)
    assert [each.data for each in messages] == [b"here"]
    assert "index cannot be used" in problem


def test_messages_of_ros_1_in_an_mcap_are_named_as_such(tmp_path):
    write_mcap(tmp_path / "bag.mcap", message(b"x"), encoding=b"ros1")
    with pytest.raises(ConfigurationError, match="ROS 1"), BagReader(tmp_path / "bag.mcap"):
        pass
