"""Starts a node without a lifecycle manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.nodes.lifecycle.steps import SUCCESS

if TYPE_CHECKING:
    from deeplab_miou.nodes.lifecycle.managed import ManagedNode


def start_once_spun(node: ManagedNode[Any]) -> None:
    """Configure and activate a node as soon as it is spun, unless somebody else was quicker.

    Args:
        node: its parameter ``autostart_exit_on_failure`` says what becomes of it
            if that fails.
    """

    def start() -> None:
        timer.cancel()
        if node.state_label == "unconfigured":
            _start(node)

    timer = node.create_timer(
        0.001, start, node.transition_group, Clock(clock_type=ClockType.STEADY_TIME)
    )


def _start(node: ManagedNode[Any]) -> None:
    for name, trigger in (
        ("configure", node.trigger_configure),
        ("activate", node.trigger_activate),
    ):
        if trigger() != SUCCESS:
            ends = node.get_parameter("autostart_exit_on_failure").value is True
            then = (
                "stops; fix what the line above says and start it again"
                if ends
                else f"stays {node.state_label}; fix what the line above says, then "
                f"`ros2 lifecycle set {node.get_fully_qualified_name()} {name}`"
            )
            node.get_logger().error(f"autostart: {name} failed, the node {then}")
            if ends:
                node.failure = DeeplabMiouError(f"autostart: {name} failed")
                node.request_stop()
            return
