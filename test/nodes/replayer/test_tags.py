"""Since when tags hold that a replay tells of: by the recorder's clock, or by the images'."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from tagged_drives import SECOND, STORE
from video_messages import FFMPEG, FOXGLOVE, serialise

from deeplab_miou.bags.contents import BagMessage
from deeplab_miou.nodes.replayer.tags import StampedTags

DAY_NS = 86_400 * SECOND
FRAME_NS = 1_700_000_000 * SECOND
IMAGE = "sensor_msgs/msg/Image"


class Told:
    """Stands in for the node and its publisher: what is published, as (name, stamp)."""

    def __init__(self):
        self.tags = []

    def create_publisher(self, *_):
        return self

    def publish(self, tag):
        stamp = tag.header.stamp
        self.tags.append((tag.name, stamp.sec * SECOND + stamp.nanosec))


@pytest.fixture
def told():
    return Told()


def tag(recorded_ns, name):
    data = STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](name), "std_msgs/msg/String")
    return BagMessage("/tag", "std_msgs/msg/String", recorded_ns, bytes(data))


def image(recorded_ns, stamp_ns, kind=IMAGE):
    """Return a message of an image, or of a video's packet."""
    if kind != IMAGE:
        return BagMessage("/camera", kind, recorded_ns, serialise(kind, stamp_ns, "h264", b"\0"))
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, SECOND))
    header = types["std_msgs/msg/Header"](stamp, "camera")
    message = types[IMAGE](header, 1, 1, "mono8", 0, 1, np.zeros(1, np.uint8))
    return BagMessage("/camera", IMAGE, recorded_ns, bytes(STORE.serialize_cdr(message, IMAGE)))


@pytest.mark.parametrize("kind", [IMAGE, FOXGLOVE, FFMPEG])
def test_with_clocks_that_differ_a_tag_holds_from_the_next_image(told, kind):
    tags = StampedTags(told)
    recorded_ns = FRAME_NS + DAY_NS
    tags.play(tag(recorded_ns, "rain"))
    assert told.tags == []
    tags.play(image(recorded_ns + 1, FRAME_NS, kind))
    assert told.tags == [("rain", FRAME_NS)]


@pytest.mark.parametrize("kind", [IMAGE, FOXGLOVE, FFMPEG])
def test_with_one_clock_a_tag_holds_from_when_it_was_recorded(told, kind):
    tags = StampedTags(told)
    tags.play(tag(FRAME_NS + 5, "rain"))
    tags.play(image(FRAME_NS + 9, FRAME_NS + 7, kind))
    assert told.tags == [("rain", FRAME_NS + 5)]


def test_a_label_of_an_earlier_image_is_not_the_next_one(told):
    tags = StampedTags(told)
    recorded_ns = FRAME_NS + DAY_NS
    tags.play(image(recorded_ns, FRAME_NS))
    tags.play(tag(recorded_ns + 1, "rain"))
    tags.play(image(recorded_ns + 2, FRAME_NS))
    assert told.tags == []
    tags.play(image(recorded_ns + 3, FRAME_NS + SECOND))
    assert told.tags == [("rain", FRAME_NS + SECOND)]


def test_messages_without_a_stamp_say_nothing_of_clocks(told):
    tags = StampedTags(told)
    tags.play(tag(FRAME_NS + DAY_NS, "rain"))
    tags.play(image(FRAME_NS + DAY_NS, 0))
    assert told.tags == []
    tags.play(image(FRAME_NS + DAY_NS, FRAME_NS))
    assert told.tags == [("rain", FRAME_NS)]


@pytest.mark.parametrize(("ahead_ns", "names"), [(0, ["rain"]), (DAY_NS, [])])
def test_a_tag_after_the_last_image_holds_from_no_frame(told, ahead_ns, names):
    tags = StampedTags(told)
    tags.play(image(FRAME_NS + ahead_ns, FRAME_NS))
    tags.play(tag(FRAME_NS + ahead_ns + 1, "rain"))
    tags.finish()
    assert [name for name, _ in told.tags] == names


def test_a_loop_begins_anew(told):
    tags = StampedTags(told)
    for _ in range(2):
        tags.play(tag(FRAME_NS + DAY_NS, "rain"))
        tags.play(image(FRAME_NS + DAY_NS + 1, FRAME_NS))
        tags.finish()
    assert told.tags == [("rain", FRAME_NS)] * 2
