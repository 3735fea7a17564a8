"""How recorded topics are offered again: classes by type name, recorded quality of service."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import QosDurability, QosReliability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rosbags.interfaces import Qos

LEAST_DEPTH = 10
_MOST_DEPTH = 1000  # recorders write absurd depths for "all"


def message_class(type_name: str) -> type | None:
    """Return the class of a type such as ``sensor_msgs/msg/Image``; None if not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def offered_profile(
    recorded: Sequence[Qos], *, reliable: bool = False, depth: int = LEAST_DEPTH
) -> QoSProfile:
    """Return a profile that whoever could subscribe to the recorded publishers can subscribe to.

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
