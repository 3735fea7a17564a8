"""The messages of one stream that wait for a partner, in the order of their stamps."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from deeplab_miou.evaluation.stamp_eras import FAR_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deeplab_miou.evaluation.stamp_eras import StampEras

T = TypeVar("T")
# Era and stamp.
Key = tuple[int, int]

# Stamps remembered for each stream to tell a repeated message from a new one.
REMEMBERED_STAMPS = 20_000


@dataclass(frozen=True, slots=True)
class Held(Generic[T]):
    """A message that waits.

    Attributes:
        item: the message.
        size: bytes that it keeps in memory.
        is_doubtful: it came while the other stream was in a later era, and may be of that one.
        is_late: its stamp lies so far back that it may be the first of an era that is about to
            begin.
    """

    item: T
    size: int
    is_doubtful: bool
    is_late: bool


class StreamBuffer(Generic[T]):
    """One stream: the messages that wait, and the stamps of the present era that ended.

    Args:
        eras: tells by the stamps when time went back.
        follows_changes: whether `changes` will be asked for.
    """

    def __init__(self, eras: StampEras, *, follows_changes: bool) -> None:
        self.eras = eras
        self._follows_changes = follows_changes
        self.held: dict[Key, Held[T]] = {}
        # The keys of `held`, ascending.
        self.order: list[Key] = []
        # Ordered, as the first of a plain dict is found past all that were deleted before it.
        self.ended: OrderedDict[int, None] = OrderedDict()
        # Where messages came and went, and how far this stream had come in an era, when it was last
        # looked at which pairs are decided: nothing else can have changed that.
        self.touched: list[Key] = []
        self.judged: Key = (0, -FAR_NS)

    def hold(self, key: Key, held: Held[T]) -> None:
        """Keep a message until it is popped."""
        self.held[key] = held
        insort(self.order, key)
        self._touch(key)

    def pop(self, key: Key) -> Held[T]:
        """Return a message and keep it no longer."""
        del self.order[bisect_left(self.order, key)]
        self._touch(key)
        return self.held.pop(key)

    def changes(self, era: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of an era's time in which this stream has changed since the last call."""
        for touched_era, stamp_ns in self.touched:
            if touched_era == era:
                yield stamp_ns, stamp_ns
        self.touched = [key for key in self.touched if key[0] != era]
        passed_ns = self.eras.passed_ns(era)
        judged_ns = self.judged[1] if self.judged[0] == era else -FAR_NS
        if passed_ns > judged_ns:
            yield judged_ns, passed_ns
        self.judged = era, passed_ns

    def end(self, era: int, stamp_ns: int) -> None:
        """Remember that the message of a stamp was paired."""
        if era == self.eras.number:
            self.ended[stamp_ns] = None
            if len(self.ended) > REMEMBERED_STAMPS:
                self.ended.popitem(last=False)

    def observe(self, stamp_ns: int, *, is_behind: bool) -> bool:
        """Look at the stamp of a message that is about to come.

        Args:
            stamp_ns: the stamp, nanoseconds.
            is_behind: whether the other stream is in a later era.

        Returns:
            Whether an era begins with it.
        """
        before = self.eras.number
        is_repeated = stamp_ns in self.ended or (before, stamp_ns) in self.held
        begins = self.eras.observe(stamp_ns, is_repeated=is_repeated, is_behind=is_behind)
        if begins:
            self.ended.clear()
            self._move([key for key in self._of(before) if self.held[key].is_late])
        return begins

    def catch_up(self, era: int) -> None:
        """Move to a later era that the stamps did not tell of, with what came since it began."""
        before = self.eras.number
        self.eras.catch_up(era)
        held = self.held
        self._move([key for key in self._of(before) if held[key].is_doubtful or held[key].is_late])

    def nearest(self, era: int, stamp_ns: int, tolerance_ns: int) -> int | None:
        """Return the stamp nearest to one, of two equally near the earlier; None if none is."""
        place = bisect_left(self.order, (era, stamp_ns))
        near = [
            found
            for held_era, found in self.order[max(place - 1, 0) : place + 1]
            if held_era == era and abs(found - stamp_ns) <= tolerance_ns
        ]
        return min(near, key=lambda found: (abs(found - stamp_ns), found), default=None)

    def stamps(self, era: int) -> list[int]:
        """Return the stamps of an era that wait, ascending."""
        return [stamp for _, stamp in self._of(era)]

    def stamps_within(self, era: int, low_ns: int, high_ns: int) -> list[int]:
        """Return the stamps that wait from one time to another, both included, ascending."""
        first = bisect_left(self.order, (era, low_ns))
        return [
            stamp for _, stamp in self.order[first : bisect_left(self.order, (era, high_ns + 1))]
        ]

    def forget(self, era: int) -> None:
        """Forget what changed in eras before one."""
        self.touched = [key for key in self.touched if key[0] >= era]

    def _touch(self, key: Key) -> None:
        if self._follows_changes:
            self.touched.append(key)

    def _of(self, era: int) -> list[Key]:
        first, last = (bisect_left(self.order, (each,)) for each in (era, era + 1))
        return self.order[first:last]

    def _move(self, keys: list[Key]) -> None:
        """Take messages into the present era."""
        for key in keys:
            self.hold((self.eras.number, key[1]), self.pop(key))
