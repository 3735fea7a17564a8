"""Pair images and labels by stamp, in bounded memory, with every message accounted for.

The reference is ``message_filters``: every pair that its ``TimeSynchronizer`` (tolerance 0) or
``ApproximateTimeSynchronizer`` would emit for two topics is emitted here too. Unlike there, what is
not paired comes back with a reason, a stamp is paired once, and no lock is held while a pair is
processed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from deeplab_miou.accounting import Reason, Stream

T = TypeVar("T")

# A stamp seen before that comes again this far behind the newest one means that time went back.
REPEAT_BACK_NS = 1_000_000_000
# Messages of the new era may be stamped this far ahead of the clock that jumped back.
REWIND_MARGIN_NS = 500_000_000
# Stamps remembered for each stream to tell a repeated message from a new one.
REMEMBERED_STAMPS = 20_000

_OTHER = {Stream.IMAGE: Stream.LABEL, Stream.LABEL: Stream.IMAGE}
_UNMATCHED = {Stream.IMAGE: Reason.UNMATCHED_IMAGE, Stream.LABEL: Reason.UNMATCHED_LABEL}


class Pair(NamedTuple, Generic[T]):
    """An image and the label that belongs to it."""

    image: T
    label: T


class Drop(NamedTuple, Generic[T]):
    """A message that will not be paired, and why."""

    stream: Stream
    item: T
    reason: Reason


@dataclass(frozen=True)
class Decision(Generic[T]):
    """What one call decided.

    Attributes:
        pairs: pairs found, at most one for an added message.
        drops: messages given up.
        jumped: time went back.
    """

    pairs: list[Pair[T]] = field(default_factory=list)
    drops: list[Drop[T]] = field(default_factory=list)
    jumped: bool = False


class _Held(NamedTuple, Generic[T]):
    item: T
    size: int


class _Buffer(Generic[T]):
    """Messages of one stream that wait, the stamps that ended, and how often time went back."""

    def __init__(self) -> None:
        self.held: dict[int, _Held[T]] = {}
        self.ended: dict[int, None] = {}
        self.newest_ns: int | None = None
        self.era = 0

    def end(self, stamp_ns: int) -> None:
        self.ended[stamp_ns] = None
        if len(self.ended) > REMEMBERED_STAMPS:
            del self.ended[next(iter(self.ended))]

    def begin_era(self, era: int) -> None:
        self.era = era
        self.ended.clear()
        self.newest_ns = max(self.held, default=None)

    def went_back(self, stamp_ns: int, threshold_ns: int) -> bool:
        if self.newest_ns is None:
            return False
        back_ns = self.newest_ns - stamp_ns
        seen = stamp_ns in self.ended or stamp_ns in self.held
        return back_ns > threshold_ns or (seen and back_ns >= REPEAT_BACK_NS)


class Pairer(Generic[T]):
    """Thread-safe pairing of two streams.

    Args:
        tolerance_ns: greatest difference of the two stamps of a pair; 0 pairs equal stamps only.
            With a tolerance the nearest waiting partner is taken, of two equally near the earlier.
        max_frames: messages held for each stream; beyond it the oldest stamp is given up.
        max_bytes: payload held in both streams together; likewise.
        jump_threshold_ns: a stamp further than this behind the newest of its stream means that
            time went back (a bag that loops, a simulator that starts again).
    """

    def __init__(
        self,
        *,
        tolerance_ns: int = 0,
        max_frames: int = 300,
        max_bytes: int = 512 * 2**20,
        jump_threshold_ns: int = 10_000_000_000,
    ) -> None:
        self._tolerance_ns = tolerance_ns
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._jump_threshold_ns = jump_threshold_ns
        self._lock = threading.Lock()
        self._buffers: dict[Stream, _Buffer[T]] = {stream: _Buffer() for stream in Stream}
        self._bytes = 0
        # First stamp of an era that stamps began and the clock has not told of.
        self._told_ns: int | None = None

    def observe(self, stream: Stream, stamp_ns: int) -> Decision[T]:
        """Look at the stamp of a message that is about to be added: did time go back?

        Both streams tell, one after the other. The first to do so begins a new era: what waits is
        given up and the decision says ``jumped``. The second one only catches up.
        """
        with self._lock:
            own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
            decision: Decision[T] = Decision()
            if own.era < other.era:
                if other.newest_ns is None or stamp_ns <= other.newest_ns + REWIND_MARGIN_NS:
                    decision = Decision(drops=self._jump_drops([stream]))
                    own.begin_era(other.era)
            elif own.went_back(stamp_ns, self._jump_threshold_ns):
                decision = Decision(drops=self._jump_drops(list(Stream)), jumped=True)
                self._told_ns = stamp_ns
                own.begin_era(own.era + 1)
            own.newest_ns = stamp_ns if own.newest_ns is None else max(own.newest_ns, stamp_ns)
            return decision

    def add(self, stream: Stream, stamp_ns: int, item: T, size: int) -> Decision[T]:
        """Add one message and return what that decides; call `observe` with its stamp before.

        A message whose stamp already waits in its stream replaces the one waiting (as upstream
        does); a message whose stamp was already paired is a duplicate itself. A message from before
        a jump back in time that the other stream has already made is given up.

        Args:
            stream: the stream that the message arrived on.
            stamp_ns: its stamp, nanoseconds.
            item: the message.
            size: bytes that it keeps in memory.
        """
        with self._lock:
            own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
            if own.era < other.era:
                return Decision(drops=[Drop(stream, item, Reason.CLOCK_JUMP)])
            if stamp_ns in own.ended:
                return Decision(drops=[Drop(stream, item, Reason.DUPLICATE_STAMP)])
            decision: Decision[T] = Decision()
            if stamp_ns in own.held:
                replaced = self._pop(stream, stamp_ns)
                decision.drops.append(Drop(stream, replaced, Reason.DUPLICATE_STAMP))
            partner_ns = self._partner(_OTHER[stream], stamp_ns) if own.era == other.era else None
            if partner_ns is None:
                own.held[stamp_ns] = _Held(item, size)
                self._bytes += size
                self._evict(stream, decision.drops)
                return decision
            partner = self._pop(_OTHER[stream], partner_ns)
            own.end(stamp_ns)
            other.end(partner_ns)
            is_image = stream is Stream.IMAGE
            decision.pairs.append(Pair(item, partner) if is_image else Pair(partner, item))
            return decision

    def flush(self) -> Decision[T]:
        """Give up everything that waits as unmatched: nothing more is coming."""
        with self._lock:
            drops: list[Drop[T]] = []
            for stream, buffer in self._buffers.items():
                while buffer.held:
                    self._give_up(stream, drops)
            return Decision(drops=drops)

    def rewind(self, now_ns: int) -> Decision[T]:
        """Take note that the clock jumped back to a time.

        Messages stamped after that time belong to the past era and are given up; those of the new
        era, which may have overtaken the news, stay. A jump that the stamps told is no news.
        """
        with self._lock:
            limit_ns = now_ns + REWIND_MARGIN_NS
            eras = {buffer.era for buffer in self._buffers.values()}
            past = [s for s, b in self._buffers.items() if (b.newest_ns or 0) > limit_ns]
            if self._told_ns is not None and self._told_ns <= limit_ns:
                # Stamps told first and have run ahead of the clock since: only a stream that
                # lags is in the past.
                past = [stream for stream in past if self._buffers[stream].era < max(eras)]
            self._told_ns = None
            if not past:
                return Decision()
            jumped = len(eras) == 1
            decision = Decision(drops=self._jump_drops(past, limit_ns), jumped=jumped)
            for stream in Stream if jumped else past:
                self._buffers[stream].begin_era(max(eras) + jumped)
            return decision

    def reset(self) -> None:
        """Forget everything, as if just made."""
        with self._lock:
            self._buffers = {stream: _Buffer() for stream in Stream}
            self._bytes = 0
            self._told_ns = None

    def waiting(self) -> dict[Stream, int]:
        """Return how many messages each stream holds."""
        with self._lock:
            return {stream: len(buffer.held) for stream, buffer in self._buffers.items()}

    @property
    def held_bytes(self) -> int:
        """Payload held, bytes."""
        with self._lock:
            return self._bytes

    def _partner(self, stream: Stream, stamp_ns: int) -> int | None:
        held = self._buffers[stream].held
        if stamp_ns in held:
            return stamp_ns
        if not self._tolerance_ns:
            return None
        near = [other for other in held if abs(other - stamp_ns) <= self._tolerance_ns]
        return min(near, key=lambda other: (abs(other - stamp_ns), other), default=None)

    def _pop(self, stream: Stream, stamp_ns: int) -> T:
        held = self._buffers[stream].held.pop(stamp_ns)
        self._bytes -= held.size
        return held.item

    def _evict(self, stream: Stream, drops: list[Drop[T]]) -> None:
        if len(self._buffers[stream].held) > self._max_frames:
            self._give_up(stream, drops)
        # One message may be larger than the bound: it is held alone rather than never paired.
        while (
            self._bytes > self._max_bytes and sum(len(b.held) for b in self._buffers.values()) > 1
        ):
            oldest = min(
                (stream for stream in Stream if self._buffers[stream].held),
                key=lambda stream: min(self._buffers[stream].held),
            )
            self._give_up(oldest, drops)

    def _give_up(self, stream: Stream, drops: list[Drop[T]]) -> None:
        item = self._pop(stream, min(self._buffers[stream].held))
        drops.append(Drop(stream, item, _UNMATCHED[stream]))

    def _jump_drops(self, streams: list[Stream], after_ns: int | None = None) -> list[Drop[T]]:
        return [
            Drop(stream, self._pop(stream, stamp_ns), Reason.CLOCK_JUMP)
            for stream in streams
            for stamp_ns in sorted(self._buffers[stream].held)
            if after_ns is None or stamp_ns > after_ns
        ]
