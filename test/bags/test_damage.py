"""Every damage is done to a file that was whole before."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

from deeplab_miou.bags.images import deserialise_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.images.cdr import RAW_TYPE

COUNT = 40
SECOND = 1_000_000_000


def storage_file(folder):
    return next(each for each in folder.iterdir() if each.name != "metadata.yaml")


def read_cut(folder, kept, read_all):
    """Cut a bag's file short; return the images still read, and what is said of the rest."""
    path = storage_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
        return [deserialise_image(each) for each in messages if each.type == RAW_TYPE], problem


@pytest.mark.parametrize("compression", ["none", "chunk"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_a_truncated_mcap_yields_all_before_the_cut(
    compression, kept, picture, write_bag, read_all
):
    folder = write_bag("mcap", compression, count=200)
    images, problem = read_cut(folder, kept, read_all)
    # The payload is incompressible, so the share of bytes kept is the share of messages.
    assert 200 * kept - 15 <= len(images) <= 200
    assert bytes(images[-1].image.data) == picture(len(images) - 1).data
    assert "breaks off" in problem
    assert "its end is missing" in problem


def test_an_mcap_without_its_footer_loses_no_message(write_bag, read_all):
    folder = write_bag()
    path = storage_file(folder)
    path.write_bytes(path.read_bytes()[:-37])  # footer record and closing magic
    with BagReader(path) as reader:
        assert reader.topics["/camera/image"].count == COUNT
        assert len(read_all(reader)[0]) == 2 * COUNT


def test_a_damaged_chunk_costs_only_its_own_messages(write_bag, read_all):
    folder = write_bag("mcap", "chunk", count=300)
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


def test_zeroed_records_are_missed(write_bag, read_all):
    folder = write_bag(count=200)
    path = storage_file(folder)
    data = bytearray(path.read_bytes())
    data[300_000:360_000] = bytes(60_000)
    path.write_bytes(data)
    with BagReader(folder) as reader:
        messages, problem = read_all(reader)
    assert 200 < len(messages) < 400
    assert f"{400 - len(messages)} of 400 messages missing" in problem


def test_a_damaged_first_chunk_keeps_the_topics_of_the_index(write_bag, read_all):
    folder = write_bag("mcap", "chunk", count=200)
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
def test_a_truncated_db3_yields_all_before_the_cut(kept, picture, write_bag, read_all):
    folder = write_bag("sqlite3", count=200)
    images, problem = read_cut(folder, kept, read_all)
    assert 200 * kept - 15 <= len(images) <= 200
    assert bytes(images[-1].image.data) == picture(len(images) - 1).data
    assert "nothing is readable after message" in problem


def test_a_damaged_page_of_a_db3_costs_only_some_messages(write_bag, read_all):
    folder = write_bag("sqlite3", count=200)
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


def test_messages_in_a_write_ahead_log_are_read(tmp_path, write_bag, read_all):
    folder = write_bag("sqlite3", count=5)
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


def test_a_truncated_compressed_file_yields_its_beginning(write_bag, read_all):
    folder = write_bag("mcap", "file", count=200)
    path = storage_file(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with BagReader(folder) as reader:
        messages, problem = read_all(reader, topics=["/camera/image"])
    assert 60 < len(messages) < 120
    assert "cut short" in problem
