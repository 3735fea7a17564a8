"""Builds the messages that nodes publish on ``/diagnostics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.node import Node


def make_status(level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """Return a status; its name is given when it is published.

    Args:
        level: one of `DiagnosticStatus`'s.
        text: one line.
        values: details.
    """
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, message=text, values=pairs)


class Diagnostics:
    """Publishes the status of one part of a node.

    Args:
        node: that publishes.
        part: which part of it; follows the node's name.
        hardware_id: what it runs on, if anything.
    """

    def __init__(self, node: Node, part: str, hardware_id: str = "") -> None:
        self._node = node
        self._name = f"{node.get_fully_qualified_name()}: {part}"
        self._hardware_id = hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def publish(self, status: DiagnosticStatus) -> None:
        """Publish a status."""
        status.name = self._name
        status.hardware_id = self._hardware_id
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def wait_for_readers(self, timeout_s: float) -> None:
        """Wait until all have the newest status, but at most this many seconds."""
        self._publisher.wait_for_all_acked(Duration(seconds=timeout_s))

    def destroy(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_publisher(self._publisher)
