"""What bags contain: topics and messages, and how the files of a bag declare and store them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from rosbags.rosbag2.metadata import parse_qos

if TYPE_CHECKING:
    from rosbags.interfaces import Qos

_LONGEST_YAML = 4 * 2**20


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


class Record(NamedTuple):
    """One recorded message."""

    channel: Channel
    timestamp_ns: int
    data: bytes


class PlainLoader(yaml.SafeLoader):
    """Reads YAML without merge keys, of which each level may double what the one before holds."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merge keys.

        Raises:
            yaml.constructor.ConstructorError: there is one.
        """
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not read", key.start_mark
                )


# What YAML of somebody else's may come to.
YAML_ERRORS = (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


def read_yaml(text: str | bytes) -> Any:  # noqa: ANN401  (whatever it holds)
    """Return what a YAML text holds.

    Raises:
        YAML_ERRORS: it cannot be read, or is longer than any that belongs to a bag.
    """
    if len(text) > _LONGEST_YAML:
        raise ValueError(f"{len(text)} bytes, at most {_LONGEST_YAML} are read")
    return yaml.load(text, PlainLoader)  # noqa: S506  (a safe loader)


def read_qos(text: str) -> tuple[Qos, ...]:
    """Return the QoS profiles of a bag, none where they are unreadable: messages matter more."""
    try:
        return tuple(parse_qos(read_yaml(text) or []))
    except YAML_ERRORS:
        return ()
