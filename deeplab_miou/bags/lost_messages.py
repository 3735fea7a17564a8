"""What a recorder says it lost: newer recorders of rosbag2 publish it on a topic of their own.

``rosbag2_interfaces/msg/MessagesLostEvent`` has, for each topic, the numbers since the event before
(https://github.com/ros2/rosbag2/pull/2150), so they add up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from deeplab_miou.errors import BagError
from deeplab_miou.text import quote

if TYPE_CHECKING:
    from collections.abc import Collection

    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.bags.reader import BagReader

EVENT_TYPE = "rosbag2_interfaces/msg/MessagesLostEvent"
STATISTIC_TYPE = "rosbag2_interfaces/msg/MessagesLostEventTopicStat"
EVENT_DEFINITION = "string node_name\nMessagesLostEventTopicStat[] messages_lost_statistics\n"
STATISTIC_DEFINITION = (
    "string topic_name\nuint64 messages_lost_in_transport\nuint64 messages_lost_in_recorder\n"
)
_NAME = "events/rosbag2_messages_lost"
# Beyond these an event is damaged: no recorder has as many topics, or loses as much in a second.
_MOST_BYTES = 2**20
_MOST_TOPICS = 1024
_MOST_LOST = 10**9
# Only their names are kept.
_MOST_RECORDERS = 8


@dataclass
class Loss:
    """Messages of one topic that a recorder lost.

    Attributes:
        in_transport: lost before they reached the recorder.
        in_recorder: lost between there and the storage.
        recorders: names of the recorder nodes that reported it, a few at most.
    """

    in_transport: int = 0
    in_recorder: int = 0
    recorders: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """All of them."""
        return self.in_transport + self.in_recorder

    def __str__(self) -> str:
        return f"{self.in_transport} in transport, {self.in_recorder} in the recorder"


@dataclass
class Losses:
    """What recorders say that they lost.

    Attributes:
        of_topics: by topic name, of those with a loss.
        problems: what could not be read, a line each.
    """

    of_topics: dict[str, Loss] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_lost_messages(
    reader: BagReader, topics: Collection[str], span: tuple[int, int] | None = None
) -> Losses:
    """Read what a bag's recorders say that they lost; what is not valid is reported and left out.

    Args:
        reader: the open bag.
        topics: those that matter.
        span: count only events that were recorded from the first up to, not including, the second
            of these times, nanoseconds. All by default.
    """
    found = Losses()
    sources = _sources(reader, found.problems)
    if not sources:
        return found
    invalid: Counter[str] = Counter()
    first = ""
    known = len(reader.problems)
    try:
        for message in reader.messages(sources, *(span or (None, None))):
            try:
                _add(found, message, topics)
            except ValueError as error:
                invalid[message.topic] += 1
                first = first or str(error)
    except BagError as error:
        # Damage that concerns only these events leaves the images whole.
        if not known:
            found.problems.append(f"not all reports of lost messages can be read: {error}")
        del reader.problems[known:]
    if invalid:
        found.problems.append(
            f"{invalid.total()} reports of lost messages on {_listed(invalid)} ignored, so some "
            f"lost messages may not be counted; the first: {first}"
        )
    return found


def _sources(reader: BagReader, problems: list[str]) -> list[str]:
    """Return the topics to read; complain about those that only have the name."""
    sources, others = [], []
    for name, info in reader.topics.items():
        if info.type == EVENT_TYPE and info.serialization == "cdr":
            sources.append(name)
        elif info.type == EVENT_TYPE or f"/{name}".endswith(f"/{_NAME}"):
            others.append(name)
    if others:
        info = reader.topics[others[0]]
        problems.append(
            f"{_listed(others)} ignored, so lost messages reported there are not counted: of type "
            f"{quote(info.type)} serialised as {quote(info.serialization)}, expected {EVENT_TYPE} "
            "as 'cdr'"
        )
    return sources


def _listed(names: Collection[str]) -> str:
    first = quote(next(iter(names)))
    return f"topic {first}" if len(names) == 1 else f"topic {first} and {len(names) - 1} more"


def _add(found: Losses, message: BagMessage, topics: Collection[str]) -> None:
    """Add an event up.

    Raises:
        ValueError: it cannot be one; nothing of it is counted.
    """
    event = _decode(message.data)
    for each in event.messages_lost_statistics:
        lost = each.messages_lost_in_transport + each.messages_lost_in_recorder
        if not lost or each.topic_name not in topics:
            continue
        loss = found.of_topics.setdefault(each.topic_name, Loss())
        loss.in_transport += each.messages_lost_in_transport
        loss.in_recorder += each.messages_lost_in_recorder
        if len(loss.recorders) < _MOST_RECORDERS:
            loss.recorders.add(event.node_name)


def _decode(data: bytes) -> Any:  # noqa: ANN401  (rosbags generates the message classes)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{len(data)} bytes, expected at most {_MOST_BYTES}")
    try:
        event: Any = _typestore().deserialize_cdr(data, EVENT_TYPE)
    except SerdeError as error:
        raise ValueError(str(error)) from None
    statistics = event.messages_lost_statistics
    if len(statistics) > _MOST_TOPICS:
        raise ValueError(f"{len(statistics)} topics, expected at most {_MOST_TOPICS}")
    for each in statistics:
        most = max(each.messages_lost_in_transport, each.messages_lost_in_recorder)
        if most > _MOST_LOST:
            raise ValueError(
                f"{most} messages lost from topic {quote(each.topic_name)}, expected at most "
                f"{_MOST_LOST}"
            )
    return event


@cache
def _typestore() -> Any:  # noqa: ANN401  (rosbags generates the message classes)
    """Return message types with these, which are newer than the distributions that rosbags has."""
    store = get_typestore(Stores.EMPTY)
    store.register(
        get_types_from_msg(STATISTIC_DEFINITION, STATISTIC_TYPE)
        | get_types_from_msg(EVENT_DEFINITION, EVENT_TYPE)
    )
    return store
