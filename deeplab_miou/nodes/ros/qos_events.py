"""Warns when a publisher's quality of service does not match ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.qos import QoSPolicyKind, QoSProfile, qos_policy_name_from_kind

if TYPE_CHECKING:
    from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo
    from rclpy.node import Node


def describe_mismatch(
    node: Node, topic: str, requested: QoSProfile, event: QoSRequestedIncompatibleQoSInfo
) -> str:
    """Return the warning for a publisher that offers less than a subscription requests.

    Args:
        node: the node that subscribes.
        topic: the resolved topic.
        requested: the subscription's profile.
        event: what the middleware reports.
    """
    policy = qos_policy_name_from_kind(QoSPolicyKind(event.last_policy_kind)).lower()
    offers = node.get_publishers_info_by_topic(topic)
    offered = sorted({getattr(offer.qos_profile, policy).name.lower() for offer in offers})
    return (
        f"topic {topic}: we request {policy} {getattr(requested, policy).name.lower()}, a "
        f"publisher offers {', '.join(offered) or 'less'}: its messages do not arrive"
    )
