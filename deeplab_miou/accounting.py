"""What happened to every image and every label: one counter each, nothing dropped silently."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Stream(str, Enum):
    """The two inputs that are paired."""

    IMAGE = "image"
    LABEL = "label"


class Reason(str, Enum):
    """Why an image or a label was not evaluated.

    Attributes:
        explanation: what it means, for people, where nothing more exact is known.
        is_normal: part of normal operation (key-frame labels, a bag that loops): no warning.
    """

    UNMATCHED_IMAGE = (
        "unmatched_image",
        "no label with its stamp arrived while the image was held",
        True,
    )
    UNMATCHED_LABEL = (
        "unmatched_label",
        "no image with its stamp arrived while the label was held",
    )
    DUPLICATE_STAMP = (
        "duplicate_stamp",
        "another message of the same stream has the same stamp; are stamps set?",
    )
    QUEUE_FULL = "queue_full", "frames arrive faster than they can be scored"
    BAD_ENCODING = "bad_encoding", "its encoding is not supported, or not for this purpose"
    BAD_SIZE = "bad_size", "its size is impossible or larger than supported"
    TRUNCATED_DATA = "truncated_data", "its data ends early or is damaged"
    SIZE_MISMATCH = "size_mismatch", "image and label do not show the same view"
    NO_KEY_FRAME = "no_key_frame", "no key frame of the video has arrived yet"
    LOST_REFERENCE = (
        "lost_reference",
        "a picture of the video that it refers to was lost or damaged",
    )
    UNKNOWN_LABEL = "unknown_label", "the label map does not know one of its values"
    NO_LABEL_INFO = (
        "no_label_info",
        "no message has said which ids mean which classes, or none of the names matches a class",
    )
    CLOCK_JUMP = "clock_jump", "time jumped back while it was waiting", True
    INFERENCE_FAILED = "inference_failed", "the network gave no valid prediction"
    LOST_BY_RECORDER = (
        "lost_by_recorder",
        "it was lost while the bag was recorded, in transport or in the recorder",
    )

    explanation: str
    is_normal: bool

    def __new__(cls, value: str, explanation: str, is_normal: bool = False) -> Reason:  # noqa: FBT001, FBT002, PYI034 - members have no keywords; Self needs 3.11
        """Make a member from its definition."""
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.explanation = explanation
        reason.is_normal = is_normal
        return reason


@dataclass(frozen=True)
class StreamCounts:
    """Counts of one stream, or of several added up.

    ``received == evaluated + waiting + sum(dropped.values())``.

    Attributes:
        received: messages that arrived, and those that a recorder says it lost.
        evaluated: messages that ended in the confusion matrix.
        waiting: messages held for their partner, queued or in work.
        dropped: messages that ended otherwise, by the reason's name.
    """

    received: int = 0
    evaluated: int = 0
    waiting: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        """Messages that are done with."""
        return self.received - self.waiting

    def __add__(self, other: StreamCounts) -> StreamCounts:
        return StreamCounts(
            self.received + other.received,
            self.evaluated + other.evaluated,
            self.waiting + other.waiting,
            dict(Counter(self.dropped) + Counter(other.dropped)),
        )

    def since(self, base: StreamCounts) -> StreamCounts:
        """Return what came after earlier counts; what waited then counts as received since."""
        return StreamCounts(
            max(self.received - base.received + base.waiting, 0),
            max(self.evaluated - base.evaluated, 0),
            self.waiting,
            dict(Counter(self.dropped) - Counter(base.dropped)),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the counts as plain types for JSON."""
        return {
            "received": self.received,
            "evaluated": self.evaluated,
            "waiting": self.waiting,
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StreamCounts:
        """Return what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        dropped = {str(reason): int(count) for reason, count in dict(data["dropped"]).items()}
        return cls(int(data["received"]), int(data["evaluated"]), int(data["waiting"]), dropped)


@dataclass(frozen=True)
class Account:
    """What became of every image and every label: of a run, or of several added up."""

    images: StreamCounts = StreamCounts()
    labels: StreamCounts = StreamCounts()

    @property
    def streams(self) -> dict[str, StreamCounts]:
        """Both streams by name."""
        return {"images": self.images, "labels": self.labels}

    def __add__(self, other: Account) -> Account:
        return Account(self.images + other.images, self.labels + other.labels)

    def since(self, base: Account) -> Account:
        """Return what has been counted after an earlier account, see `StreamCounts.since`."""
        return Account(self.images.since(base.images), self.labels.since(base.labels))

    def to_dict(self) -> dict[str, object]:
        """Return ``{"images": …, "labels": …}`` as plain types for JSON."""
        return {name: counts.to_dict() for name, counts in self.streams.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Account:
        """Return what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(*(StreamCounts.from_dict(data[name]) for name in ("images", "labels")))


class RunningAccount:
    """Thread-safe counters; a message is received once and then ends once.

    Ending more messages than were received is a programming error and raises `RuntimeError`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = dict.fromkeys(Stream, 0)
        self._waiting = dict.fromkeys(Stream, 0)
        self._evaluated = 0
        self._dropped: Counter[tuple[Stream, Reason]] = Counter()

    def received(self, stream: Stream) -> None:
        """Count one message that arrived on a stream."""
        with self._lock:
            self._received[stream] += 1
            self._waiting[stream] += 1

    def evaluated(self) -> None:
        """Count one image and its label as evaluated."""
        with self._lock:
            self._evaluated += 1
            self._end(Stream.IMAGE)
            self._end(Stream.LABEL)

    def dropped(self, stream: Stream, reason: Reason) -> None:
        """Count one message that ended without being evaluated."""
        with self._lock:
            self._dropped[stream, reason] += 1
            self._end(stream)

    def lost(self, stream: Stream, count: int) -> None:
        """Count messages that were sent but never recorded, as received and dropped."""
        with self._lock:
            self._received[stream] += count
            self._dropped[stream, Reason.LOST_BY_RECORDER] += count

    def snapshot(self) -> Account:
        """Return both streams' counts at one instant."""
        with self._lock:
            return Account(self._counts(Stream.IMAGE), self._counts(Stream.LABEL))

    def reset(self) -> None:
        """Start from zero; what is waiting is forgotten too."""
        with self._lock:
            self._received = dict.fromkeys(Stream, 0)
            self._waiting = dict.fromkeys(Stream, 0)
            self._evaluated = 0
            self._dropped.clear()

    def _end(self, stream: Stream) -> None:
        self._waiting[stream] -= 1
        if self._waiting[stream] < 0:
            raise RuntimeError(f"account: more {stream.value}s ended than were received")

    def _counts(self, stream: Stream) -> StreamCounts:
        return StreamCounts(
            received=self._received[stream],
            evaluated=self._evaluated,
            waiting=self._waiting[stream],
            dropped={r.value: n for r in Reason if (n := self._dropped[stream, r])},
        )
