"""Publishes the tags that a replay plays, with the time from which each applies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou_msgs.msg import Tag

from deeplab_miou.images.cdr import IMAGE_TYPES, VIDEO_TYPES, read_stamp
from deeplab_miou.nodes.ros.conversions import ns_to_time
from deeplab_miou.nodes.ros.qos import STAMPED_TAGS
from deeplab_miou.tags.messages import TAG_TYPES, read_tag
from deeplab_miou.tags.timeline import SAME_CLOCK_NS

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.publisher import Publisher

    from deeplab_miou.bags.contents import BagMessage

_STAMPED_TYPES = (*IMAGE_TYPES, *VIDEO_TYPES)


class _Pending(NamedTuple):
    """A tag that has been played; `Tag`'s fields, and when it was recorded, nanoseconds."""

    topic: str
    key: str
    name: str
    recorded_ns: int


class StampedTags:
    """Publishes on ``~/tags`` each tag that is played, before the images that it may concern.

    A tag applies from the time when it was recorded; if images are stamped by another clock than
    the recorder's, from the next image, as in `deeplab-miou evaluate`. Which topic has the images
    is not known here: late labels of earlier images are recognised by their stamps.

    Args:
        node: the node that plays.
    """

    def __init__(self, node: Node) -> None:
        self._publisher: Publisher = node.create_publisher(Tag, "~/tags", STAMPED_TAGS)
        self._pending: list[_Pending] = []
        self._newest_ns = 0
        self._differs = False

    def play(self, message: BagMessage) -> None:
        """Take note of a message that is about to be played."""
        if message.type in TAG_TYPES:
            try:
                key, name = read_tag(message.data, message.type)
            except ValueError:
                return
            self._pending.append(_Pending(message.topic, key, name, message.timestamp_ns))
        elif message.type in _STAMPED_TYPES and (stamp_ns := read_stamp(message.data)):
            self._differs = abs(message.timestamp_ns - stamp_ns) > SAME_CLOCK_NS
            if not self._differs:
                self._publish(None)
            elif stamp_ns > self._newest_ns:
                self._publish(stamp_ns)
            self._newest_ns = max(self._newest_ns, stamp_ns)

    def finish(self) -> None:
        """Publish what no image has followed, unless its time is of a clock that images lack."""
        if self._differs:
            self._pending.clear()
        self._publish(None)
        self._newest_ns = 0

    def _publish(self, stamp_ns: int | None) -> None:
        for each in self._pending:
            message = Tag(topic=each.topic, key=each.key, name=each.name)
            message.header.stamp = ns_to_time(each.recorded_ns if stamp_ns is None else stamp_ns)
            self._publisher.publish(message)
        self._pending.clear()
