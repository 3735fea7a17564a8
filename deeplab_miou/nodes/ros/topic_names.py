"""Names of topics that parameters give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from rclpy.node import Node


def resolve(node: Node, topic: str, parameter: str) -> str:
    """Return a topic's resolved name.

    Args:
        node: in whose namespace, and under whose remapping rules.
        topic: the name; ``~/`` stands for the node's own.
        parameter: the parameter that gives it.

    Raises:
        ConfigurationError: it is not a topic name.
    """
    try:
        return str(node.resolve_topic_name(topic))
    except Exception as error:  # noqa: BLE001  rclpy's name errors have no common base
        # What follows is a place in rcl's source.
        reason = " ".join(str(error).split()).partition(", at /")[0]
        raise ConfigurationError(
            f"parameter {parameter}: {topic!r} is not a topic name: {reason}"
        ) from None
