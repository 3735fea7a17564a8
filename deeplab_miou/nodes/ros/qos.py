"""Quality of service that several nodes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.nodes.ros.distributions import TopicEndpointInfo

# The newest message reaches who subscribes later, too.
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# All tags that a replayer has sent reach who subscribes later.
STAMPED_TAGS = QoSProfile(
    depth=1000,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

AUTO = "auto"
VOLATILE = "volatile"
_RELIABILITY = {
    "reliable": ReliabilityPolicy.RELIABLE,
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
}
_DURABILITY = {
    VOLATILE: DurabilityPolicy.VOLATILE,
    "transient_local": DurabilityPolicy.TRANSIENT_LOCAL,
}


def matching(
    offers: Sequence[TopicEndpointInfo],
    depth: int,
    *,
    reliability: str = AUTO,
    durability: str = AUTO,
) -> QoSProfile:
    """Return a profile that receives from all publishers.

    Args:
        offers: the publishers.
        depth: messages that the middleware keeps for us.
        reliability: ``auto`` (what the publishers offer), ``reliable`` or ``best_effort``.
        durability: ``auto``, ``volatile`` or ``transient_local``.
    """
    # The weakest offer decides: a stronger request would silently lose that publisher.
    if reliability == AUTO:
        reliable = all(
            offer.qos_profile.reliability is ReliabilityPolicy.RELIABLE for offer in offers
        )
        reliability = "reliable" if reliable else "best_effort"
    if durability == AUTO:
        latched = all(
            offer.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for offer in offers
        )
        durability = "transient_local" if latched else VOLATILE
    return QoSProfile(
        depth=depth,
        reliability=_RELIABILITY[reliability],
        durability=_DURABILITY[durability],
    )
