"""Tags of the drive as ``miou_publisher`` hears them, or reads them from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Tag
from diagnostic_msgs.msg import KeyValue
from std_msgs.msg import String

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.nodes.ros.conversions import time_to_ns
from deeplab_miou.nodes.ros.evaluator_topics import EvaluatorTopics
from deeplab_miou.nodes.ros.node_names import is_known, node_of, qualified
from deeplab_miou.nodes.ros.qos import STAMPED_TAGS, matching
from deeplab_miou.nodes.ros.topic_names import resolve
from deeplab_miou.tags.file_format import read_tag_file
from deeplab_miou.tags.messages import KEY_VALUE_TYPE, STRING_TYPE
from deeplab_miou.tags.timeline import TagTimeline
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from deeplab_miou.options.publisher import PublisherOptions

_TYPES = {STRING_TYPE: String, KEY_VALUE_TYPE: KeyValue}
_DEPTH = 1000


def read_timeline(settings: PublisherOptions) -> TagTimeline | None:
    """Return the tags that are known from the beginning; None where there are no tags at all.

    Raises:
        ConfigurationError: the file cannot be used, or there is a topic too.
    """
    settings.check_tags()
    if not settings.tags:
        return TagTimeline() if settings.tags_topic else None
    file = read_tag_file(settings.tags)
    if file.needs_bag:
        raise ConfigurationError(
            f"tags file {file.name} refers to a bag, by a column bag or times that begin with +: "
            "only `deeplab-miou evaluate` knows the bag; give times since the epoch"
        )
    return file.timeline()


class TagInput:
    """Subscribes to a topic of tags once somebody publishes it, as its type is only known then.

    A tag is in force from when it is received, by the node's clock. What a bag_replayer plays is
    taken from its ``~/tags`` instead, which says when it was recorded.

    Args:
        node: the node that subscribes.
        topic: of the tags.
        replayer: name of the bag_replayer.
        on_tag: called with key, name and the time from which it applies, nanoseconds.
        on_error: called with an exception that is not a publisher's fault.

    Raises:
        ConfigurationError: the topic is not a topic name.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        replayer: str,
        *,
        on_tag: Callable[[str, str, int], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._node = node
        self._topic = resolve(node, topic, "tags_topic")
        self._replayer = qualified(node.get_namespace(), replayer)
        self._on_tag = on_tag
        self._topics = EvaluatorTopics(node, on_error)
        self._throttle = Throttle()
        self._is_subscribed = False
        self._topics.subscribe(Tag, f"{self._replayer}/tags", self._on_stamped, STAMPED_TAGS)

    def close(self) -> None:
        """Unsubscribe; messages already received are still taken."""
        self._topics.close()

    def look(self) -> None:
        """Subscribe to what others than the replayer publish; call it every so often."""
        found = self._node.get_publishers_info_by_topic(self._topic)
        others = [each for each in found if node_of(each) != self._replayer]
        if self._is_subscribed or not others or not all(map(is_known, others)):
            return
        kind = next((each.topic_type for each in others if each.topic_type in _TYPES), None)
        if kind is None:
            if self._throttle.admit("type") is not None:
                self._node.get_logger().warning(
                    f"no tags from {self._topic}: it is of type {others[0].topic_type}, expected "
                    f"{' or '.join(_TYPES)}"
                )
            return
        self._is_subscribed = True
        take = self._on_string if kind == STRING_TYPE else self._on_key_value
        self._topics.subscribe(
            _TYPES[kind], self._topic, take, matching(others, _DEPTH), linger_s=0.0
        )
        self._node.get_logger().info(f"subscribed to {self._topic}: {kind}")

    def _on_string(self, message: String) -> None:
        self._on_tag("", message.data, self._now_ns())

    def _on_key_value(self, message: KeyValue) -> None:
        self._on_tag(message.key, message.value, self._now_ns())

    def _on_stamped(self, message: Tag) -> None:
        if message.topic == self._topic:
            self._on_tag(message.key, message.name, time_to_ns(message.header.stamp))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
