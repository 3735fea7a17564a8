"""How recorded topics are republished: which can be, and with what quality of service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rosbags.interfaces import QosDurability, QosReliability

from deeplab_miou.nodes.ros.message_types import message_class
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from rosbags.interfaces import Qos

    from deeplab_miou.bags.reader import BagReader

LEAST_DEPTH = 10
_MOST_DEPTH = 1000  # recorders write absurd depths for "all"
_OVERRIDABLE = (
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
)


def offered_profile(
    recorded: Sequence[Qos], *, reliable: bool = False, depth: int = LEAST_DEPTH
) -> QoSProfile:
    """Return a profile compatible with every subscription that fits the recorded publishers.

    Of several publishers the strongest offer counts. Deadline, lifespan and liveliness are left
    out: they spoke of the time of the recording.

    Args:
        recorded: profiles that the recorded publishers offered; none means the default profile.
        reliable: offer reliable delivery whatever was recorded.
        depth: least number of messages kept for slow subscribers.
    """
    reliable = reliable or any(
        each.reliability is not QosReliability.BEST_EFFORT for each in recorded
    )
    latched = any(each.durability is QosDurability.TRANSIENT_LOCAL for each in recorded)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=max([depth, *(min(each.depth, _MOST_DEPTH) for each in recorded)]),
        reliability=(
            ReliabilityPolicy.RELIABLE
            if reliable or not recorded
            else ReliabilityPolicy.BEST_EFFORT
        ),
        durability=(DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE),
    )


def playable_topics(reader: BagReader, topics: Iterable[str]) -> tuple[dict[str, type], list[str]]:
    """Return the message classes of a bag's topics, and a description of each without one.

    Args:
        reader: the open bag.
        topics: those in question.

    Raises:
        ConfigurationError: one is not in the bag.
    """
    playable, left_out = {}, []
    for topic in topics:
        info = reader.require(topic)
        kind = message_class(info.type) if info.serialization == "cdr" else None
        if kind is None:
            left_out.append(f"{topic} ({info.type}, {plural(info.count, 'message')})")
        else:
            playable[topic] = kind
    return playable, left_out


def offer(
    node: Node, topic: str, kind: type, recorded: Sequence[Qos], *, paced: bool, depth: int
) -> Publisher:
    """Return a publisher of a recorded topic.

    Args:
        node: the node that plays.
        topic: its name.
        kind: class of its messages.
        recorded: profiles that the recorded publishers offered.
        paced: whether every message must arrive: then it is reliable, whatever a user says.
        depth: least number of messages kept for slow subscribers.
    """
    return node.create_publisher(
        kind,
        topic,
        offered_profile(recorded, reliable=paced, depth=max(LEAST_DEPTH, depth)),
        qos_overriding_options=None if paced else QoSOverridingOptions(_OVERRIDABLE),
    )
