"""What bags contain: topics and messages, and how the files of a bag declare and store them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rosbags.interfaces import Qos


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag.

    Attributes:
        type: full name of the message type, ``sensor_msgs/msg/Image``.
        count: messages recorded; of a damaged bag, those that can be read.
        serialization: ``cdr`` in bags that ROS 2 wrote.
        qos: profiles that the recorded publishers offered, possibly none.
    """

    type: str
    count: int
    serialization: str
    qos: tuple[Qos, ...]


class BagMessage(NamedTuple):
    """One recorded message as it was on the wire.

    Attributes:
        topic: name of its topic.
        type: full name of its type.
        timestamp_ns: when it was recorded, in nanoseconds (not its header stamp).
        data: the serialised message.
    """

    topic: str
    type: str
    timestamp_ns: int
    data: bytes


class Channel(NamedTuple):
    """A topic as one bag file declares it."""

    topic: str
    type: str
    serialization: str
    qos: tuple[Qos, ...]


class StoredMessage(NamedTuple):
    """One message as a bag file stores it."""

    channel: Channel
    timestamp_ns: int
    data: bytes
