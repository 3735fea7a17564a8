"""Recorded quality of service, offered again."""

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.nodes.replayer.offers import offered_profile, playable_topics
from deeplab_miou.nodes.ros.message_types import message_class

BEST_EFFORT, RELIABLE = QosReliability.BEST_EFFORT, QosReliability.RELIABLE
VOLATILE, LATCHED = QosDurability.VOLATILE, QosDurability.TRANSIENT_LOCAL


def recorded(reliability=RELIABLE, durability=VOLATILE, depth=5):
    brief = QosTime(0, 1000)  # a lifespan that would drop everything
    return Qos(
        QosHistory.KEEP_LAST,
        depth,
        reliability,
        durability,
        brief,
        brief,
        QosLiveliness.SYSTEM_DEFAULT,
        brief,
        avoid_ros_namespace_conventions=False,
    )


@pytest.mark.parametrize(
    ("profiles", "reliability", "durability"),
    [
        ([], "RELIABLE", "VOLATILE"),
        ([recorded(BEST_EFFORT)], "BEST_EFFORT", "VOLATILE"),
        ([recorded(RELIABLE, LATCHED)], "RELIABLE", "TRANSIENT_LOCAL"),
        ([recorded(BEST_EFFORT, LATCHED), recorded(RELIABLE)], "RELIABLE", "TRANSIENT_LOCAL"),
        ([recorded(QosReliability.SYSTEM_DEFAULT)], "RELIABLE", "VOLATILE"),
    ],
)
def test_the_strongest_offer_counts(profiles, reliability, durability):
    profile = offered_profile(profiles)
    assert profile.reliability is ReliabilityPolicy[reliability]
    assert profile.durability is DurabilityPolicy[durability]
    assert profile.lifespan.nanoseconds == 0
    assert profile.deadline.nanoseconds == 0


def test_reliable_delivery_can_be_demanded():
    profile = offered_profile([recorded(BEST_EFFORT)], reliable=True)
    assert profile.reliability is ReliabilityPolicy.RELIABLE


@pytest.mark.parametrize(
    ("depth", "asked", "given"), [(5, 10, 10), (50, 10, 50), (2**31, 10, 1000)]
)
def test_the_depth_is_bounded(depth, asked, given):
    assert offered_profile([recorded(depth=depth)], depth=asked).depth == given


def test_message_classes_are_found_by_name():
    assert message_class("sensor_msgs/msg/Image").__name__ == "Image"


@pytest.mark.parametrize("name", ["nowhere_msgs/msg/Image", "sensor_msgs/msg/Nothing", "odd"])
def test_what_is_not_installed_has_no_class(name):
    assert message_class(name) is None


def test_topics_without_a_class_are_left_out(tmp_path):
    events = "/events/rosbag2_messages_lost"
    event_type = "rosbag2_interfaces/msg/MessagesLostEvent"
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("string node_name", event_type))
    with BagWriter(tmp_path / "bag", typestore=store) as writer:
        writer.write("/image", "sensor_msgs/msg/Image", 1, b"")
        writer.write(events, event_type, 2, b"")
    with BagReader(tmp_path / "bag") as reader:
        playable, left_out = playable_topics(reader, list(reader.topics))
    # Distributions from Lyrical on have it.
    if message_class(event_type) is None:
        assert left_out == [f"{events} ({event_type}, 1 message)"]
        assert list(playable) == ["/image"]
    else:
        assert (set(playable), left_out) == ({"/image", events}, [])
