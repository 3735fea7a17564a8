"""What the raw ids of a stream of label images mean, as published by name while it runs."""

from __future__ import annotations

import functools
import threading
from bisect import bisect_right
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.labels.named_ids import class_names, with_ids, without_class

if TYPE_CHECKING:
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.labels.messages import LabelNames
    from deeplab_miou.labels.named_ids import IdNames

# A change with each frame for ten minutes.
_MOST_CHANGES = 20_000
_MOST_TABLES = 32
_MOST_SHOWN = 8


class Legend:
    """Names of ids over time; thread-safe.

    An image is read with the names that were the newest at its stamp, or with the first there are.
    Whatever the ids, the classes stay those of the label map: counting continues when ids change.

    Args:
        label_map: the classes; its own ids are not used.
        topic: where names come from, for messages to people.

    Raises:
        ConfigurationError: two classes have names that cannot be told apart.
    """

    def __init__(self, label_map: LabelMap, topic: str) -> None:
        class_names(label_map)
        self._label_map = label_map
        self._topic = topic
        self._lock = threading.Lock()
        self._starts_ns: list[int] = []
        self._names: list[IdNames] = []
        self._newest_ns = 0
        self._is_of_frame = False
        self._is_closed = False
        self._refused = ""
        self._threshold = 0.0
        self._unknown: dict[str, None] = {}
        self._named = functools.lru_cache(maxsize=_MOST_TABLES)(self._name)

    def add(self, label_names: LabelNames, after_ns: int) -> bool:
        """Take what a message says; messages come in the order in which they were sent.

        Args:
            label_names: what it says.
            after_ns: stamp of the newest image received before it. If the message has no stamp, or
                that of an earlier one with other names, it applies to later images.

        Returns:
            Whether this changes what ids mean.
        """
        unknown = without_class(self._label_map, label_names.names)
        with self._lock:
            self._is_of_frame = label_names.is_of_frame
            self._threshold = max(self._threshold, label_names.threshold)
            for name in unknown[: _MOST_SHOWN + 1 - len(self._unknown)]:
                self._unknown[name] = None
            went_back = 0 < label_names.stamp_ns < self._newest_ns
            self._newest_ns = label_names.stamp_ns or self._newest_ns
            if self._names and self._names[-1] == label_names.names:
                return False
            start_ns = label_names.stamp_ns
            if went_back:
                # Names for later times were published before time jumped.
                place = bisect_right(self._starts_ns, start_ns - 1)
                del self._starts_ns[place:], self._names[place:]
            elif self._starts_ns and start_ns <= self._starts_ns[-1]:
                start_ns = max(after_ns, self._starts_ns[-1]) + 1
            self._starts_ns.append(start_ns)
            self._names.append(label_names.names)
            del self._starts_ns[:-_MOST_CHANGES], self._names[:-_MOST_CHANGES]
            return True

    def refuse(self, problem: str) -> None:
        """Note a message that could not be used; see `read_label_names`."""
        with self._lock:
            self._refused = f"label info of {self._topic} {problem}"

    def close(self) -> None:
        """Note that no more names will come: nothing need wait for them."""
        with self._lock:
            self._is_closed = True

    @property
    def is_closed(self) -> bool:
        """Whether no more names will come."""
        with self._lock:
            return self._is_closed

    def knows(self, stamp_ns: int) -> bool:
        """Return whether an image can be read now, without waiting for newer names."""
        with self._lock:
            return self._is_closed or (
                bool(self._names) and (not self._is_of_frame or stamp_ns <= self._newest_ns)
            )

    @property
    def is_empty(self) -> bool:
        """Whether no names have arrived."""
        with self._lock:
            return not self._names

    def at(self, stamp_ns: int) -> LabelMap:
        """Return what the ids of an image mean.

        Raises:
            FrameError: no_label_info: there are no names, or none of them matches a class.
        """
        with self._lock:
            refused = self._refused
            place = max(bisect_right(self._starts_ns, stamp_ns) - 1, 0)
            names = self._names[place] if self._names else None
        if names is None:
            raise FrameError(
                Reason.NO_LABEL_INFO,
                refused or f"nothing on {self._topic} has said which ids mean which classes",
            )
        return self._named(names)

    @property
    def doubts(self) -> list[str]:
        """What makes scores doubtful, a line each."""
        with self._lock:
            refused, threshold = self._refused, self._threshold
            unknown, is_empty = list(self._unknown), not self._names
        doubts = [refused] if refused else []
        if is_empty and not refused:
            doubts.append(f"nothing on {self._topic} has said which ids mean which classes")
        if unknown:
            more = ", …" if len(unknown) > _MOST_SHOWN else ""
            doubts.append(
                f"label info of {self._topic} has names that match no class of label map "
                f"{self._label_map.name}, so their pixels are not scored: "
                f"{', '.join(unknown[:_MOST_SHOWN])}{more} (add other names of a class as aliases)"
            )
        if threshold > 0:
            doubts.append(
                f"label info of {self._topic} has a confidence threshold of {threshold:g}: pixels "
                "below it have no label"
            )
        return doubts

    def _name(self, names: IdNames) -> LabelMap:
        try:
            return with_ids(self._label_map, names)
        except ValueError as error:
            raise FrameError(
                Reason.NO_LABEL_INFO, f"ids in the label info of {self._topic} {error}"
            ) from None
