"""Publishes which predicted id is which class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_miou.labels.messages import LABEL_INFO_TYPE
from deeplab_miou.nodes.ros.message_types import message_class
from deeplab_miou.nodes.ros.qos import LATCHED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.node import Node
    from rclpy.publisher import Publisher

_CLASS_TYPE = "vision_msgs/msg/VisionClass"


def publish_label_info(node: Node, class_names: Sequence[str]) -> Publisher | None:
    """Publish the names of the ids in ``~/prediction``, latched.

    Args:
        node: that publishes.
        class_names: in the order of their ids.

    Returns:
        The publisher, which has to live as long as the message is to be had; None where vision_msgs
        is not installed.
    """
    info_class: Any = message_class(LABEL_INFO_TYPE)
    class_class: Any = message_class(_CLASS_TYPE)
    if info_class is None or class_class is None:
        return None
    publisher = node.create_publisher(info_class, "~/label_info", LATCHED)
    # No threshold: each pixel has the class that is the likeliest, however likely.
    info = info_class()
    info.header.stamp = node.get_clock().now().to_msg()
    info.class_map = [
        class_class(class_id=class_id, class_name=name) for class_id, name in enumerate(class_names)
    ]
    publisher.publish(info)
    return publisher
