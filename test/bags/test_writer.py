from __future__ import annotations

import pytest
from rosbags.rosbag2 import Reader
from ruamel.yaml import YAML

from deeplab_miou.bags.contents import BagMessage
from deeplab_miou.bags.images import deserialise_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, RAW_TYPE
from deeplab_miou.images.messages import CompressedImage, RawImage

STORAGES = ("mcap", "sqlite3")
COUNT = 40
SECOND = 1_000_000_000
HEIGHT, WIDTH = 60, 80


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compression", ["none", "message", "file", "chunk"])
def test_what_was_written_is_read(tmp_path, storage, compression, picture, write_bag):
    if storage == "sqlite3" and compression == "chunk":
        pytest.skip("chunks are MCAP's")
    write_bag(storage, compression)
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
        stamped = deserialise_image(messages[7])
        assert stamped.stamp_ns == 100 * SECOND + 7 * SECOND // 10
        assert stamped.frame_id == "camera"
        assert isinstance(stamped.image, RawImage)
        assert stamped.image.encoding == "rgb8"
        assert (stamped.image.height, stamped.image.width) == (HEIGHT, WIDTH)
        assert stamped.image.step == WIDTH * 3
        assert bytes(stamped.image.data) == picture(7).data
        label = deserialise_image(next(reader.messages(["/camera/labels"]))).image
        assert isinstance(label, CompressedImage)
        assert bytes(label.data).startswith(b"\x89PNG")
        assert reader.problems == []


def test_raw_bytes_are_written_unchanged(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/t", "std_msgs/msg/String", 5, b"\x00\x01\x00\x00garbage")
    with BagReader(tmp_path / "bag") as reader:
        assert list(reader.messages()) == [
            BagMessage("/t", "std_msgs/msg/String", 5, b"\x00\x01\x00\x00garbage")
        ]


@pytest.mark.parametrize("storage", STORAGES)
def test_message_definitions_are_recorded(tmp_path, storage, write_bag):
    write_bag(storage, count=1)
    with Reader(tmp_path / "bag") as reader:
        definitions = {each.msgtype: each.msgdef.data for each in reader.connections}
        hashes = [each.digest for each in reader.connections]
    assert "uint8[] data" in definitions[RAW_TYPE]
    assert "MSG: std_msgs/Header" in definitions[RAW_TYPE]
    assert all(each.startswith("RIHS01_") for each in hashes)


@pytest.mark.parametrize("storage", STORAGES)
def test_humble_can_read_what_publishers_offered(tmp_path, storage, write_bag):
    """As its convert<TopicMetadata> and convert<Rosbag2QoS> do: profiles are text, with numbers."""
    write_bag(storage, "none")
    yaml = YAML(typ="safe")
    metadata = yaml.load(tmp_path / "bag" / "metadata.yaml")["rosbag2_bagfile_information"]
    assert {each["path"] for each in metadata["files"]} == set(metadata["relative_file_paths"])
    texts = [
        each["topic_metadata"]["offered_qos_profiles"]
        for each in metadata["topics_with_message_count"]
    ]
    assert len(texts) == 2
    for text in texts:
        assert isinstance(text, str)
        (profile,) = yaml.load(text)
        assert [profile[name] for name in ("history", "depth", "reliability", "durability")] == [
            *(1, 10),  # RMW_QOS_POLICY_HISTORY_KEEP_LAST
            1,  # RMW_QOS_POLICY_RELIABILITY_RELIABLE
            2,  # RMW_QOS_POLICY_DURABILITY_VOLATILE
        ]
        assert profile["liveliness"] == 0
        assert profile["deadline"] == {"sec": 0, "nsec": 0}
        assert profile["avoid_ros_namespace_conventions"] is False
    # It takes them from the file.
    (file,) = set((tmp_path / "bag").iterdir()) - {tmp_path / "bag" / "metadata.yaml"}
    assert b"history: 1" in file.read_bytes()
    assert b"keep_last" not in file.read_bytes()


def test_a_writer_does_not_overwrite(tmp_path):
    with pytest.raises(BagError, match="exists already"), BagWriter(tmp_path):
        pass


def test_a_crashed_writer_leaves_a_readable_bag(tmp_path, picture, read_all):
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
