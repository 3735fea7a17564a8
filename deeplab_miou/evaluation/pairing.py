"""Pair images and labels by stamp, in bounded memory, with every message accounted for.

The reference is ``message_filters``: every pair that its ``TimeSynchronizer`` (tolerance 0) or
``ApproximateTimeSynchronizer`` would emit for two topics is emitted here too. Unlike there, what is
not paired comes back with a reason, a stamp is paired once, and no lock is held while a pair is
processed. When time goes back, each stream's messages pair with those of the same era of the other,
however far one is behind the other.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.stamp_eras import StampEras

T = TypeVar("T")
# Era and stamp.
_Key = tuple[int, int]

# Stamps remembered for each stream to tell a repeated message from a new one.
REMEMBERED_STAMPS = 20_000

_OTHER = {Stream.IMAGE: Stream.LABEL, Stream.LABEL: Stream.IMAGE}
_UNMATCHED = {Stream.IMAGE: Reason.UNMATCHED_IMAGE, Stream.LABEL: Reason.UNMATCHED_LABEL}


@dataclass(frozen=True, slots=True)
class Pair(Generic[T]):
    """An image and the label that belongs to it."""

    image: T
    label: T


@dataclass(frozen=True, slots=True)
class Drop(Generic[T]):
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
        jumped: time went back; told once an era, by the stream that is the first to do so.
    """

    pairs: list[Pair[T]] = field(default_factory=list)
    drops: list[Drop[T]] = field(default_factory=list)
    jumped: bool = False


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    item: T
    size: int
    # It came while the other stream was in a later era: it may be of that one.
    is_doubtful: bool


class _Buffer(Generic[T]):
    """One stream: the messages that wait, and the stamps of the present era that ended."""

    def __init__(self, jump_threshold_ns: int) -> None:
        self.eras = StampEras(jump_threshold_ns)
        self.held: dict[_Key, _Held[T]] = {}
        self.ended: dict[int, None] = {}

    def end(self, era: int, stamp_ns: int) -> None:
        if era == self.eras.number:
            self.ended[stamp_ns] = None
            if len(self.ended) > REMEMBERED_STAMPS:
                del self.ended[next(iter(self.ended))]

    def observe(self, stamp_ns: int, *, is_behind: bool) -> bool:
        is_repeated = stamp_ns in self.ended or (self.eras.number, stamp_ns) in self.held
        begins = self.eras.observe(stamp_ns, is_repeated=is_repeated, is_behind=is_behind)
        if begins:
            self.ended.clear()
        return begins

    def catch_up(self, era: int) -> None:
        """Move to a later era that the stamps did not tell of, with what came since it began."""
        before = self.eras.number
        self.eras.catch_up(era)
        for key in [key for key, held in self.held.items() if held.is_doubtful]:
            if key[0] == before:
                self.held[era, key[1]] = self.held.pop(key)


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
        self._buffers = self._make_buffers()
        self._bytes = 0

    def observe(self, stream: Stream, stamp_ns: int) -> Decision[T]:
        """Look at the stamp of a message that is about to be added: did time go back?

        What waits for a partner of an era that both streams have left is given up.
        """
        with self._lock:
            own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
            is_behind = own.eras.number < other.eras.number
            if not own.observe(stamp_ns, is_behind=is_behind):
                return Decision()
            jumped = own.eras.number > other.eras.number
            return Decision(drops=self._drop_past(), jumped=jumped)

    def add(self, stream: Stream, stamp_ns: int, item: T, size: int) -> Decision[T]:
        """Add one message and return what that decides; call `observe` with its stamp before.

        A message whose stamp already waits in its stream replaces the one waiting (as upstream
        does); a message whose stamp was already paired is a duplicate itself.

        Args:
            stream: the stream that the message arrived on.
            stamp_ns: its stamp, nanoseconds.
            item: the message.
            size: bytes that it keeps in memory.
        """
        with self._lock:
            own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
            era = own.eras.number
            if stamp_ns in own.ended:
                return Decision(drops=[Drop(stream, item, Reason.DUPLICATE_STAMP)])
            decision: Decision[T] = Decision()
            if (era, stamp_ns) in own.held:
                replaced = self._pop(stream, (era, stamp_ns))
                decision.drops.append(Drop(stream, replaced, Reason.DUPLICATE_STAMP))
            partner = self._partner(stream, stamp_ns)
            if partner is None:
                is_doubtful = era < other.eras.number
                own.held[era, stamp_ns] = _Held(item, size, is_doubtful)
                self._bytes += size
                self._evict(stream, decision.drops)
                return decision
            paired = self._pop(_OTHER[stream], partner)
            for buffer in (own, other):
                if buffer.eras.number < max(era, partner[0]):
                    buffer.catch_up(max(era, partner[0]))
                    decision.drops.extend(self._drop_past())
            own.end(max(era, partner[0]), stamp_ns)
            other.end(max(era, partner[0]), partner[1])
            is_image = stream is Stream.IMAGE
            decision.pairs.append(Pair(item, paired) if is_image else Pair(paired, item))
            return decision

    def flush(self) -> Decision[T]:
        """Give up everything that waits as unmatched: nothing more is coming."""
        with self._lock:
            drops: list[Drop[T]] = []
            for stream, buffer in self._buffers.items():
                while buffer.held:
                    self._give_up(stream, drops)
            return Decision(drops=drops)

    def clock_jumped(self, now_ns: int) -> None:
        """Take note that the clock jumped back to a time: stamps are expected to follow."""
        with self._lock:
            for buffer in self._buffers.values():
                buffer.eras.clock_jumped(now_ns)

    def reset(self) -> None:
        """Forget everything, as if just made."""
        with self._lock:
            self._buffers = self._make_buffers()
            self._bytes = 0

    def waiting(self) -> dict[Stream, int]:
        """Return how many messages each stream holds."""
        with self._lock:
            return {stream: len(buffer.held) for stream, buffer in self._buffers.items()}

    @property
    def held_bytes(self) -> int:
        """Payload held, bytes."""
        with self._lock:
            return self._bytes

    def _make_buffers(self) -> dict[Stream, _Buffer[T]]:
        return {stream: _Buffer(self._jump_threshold_ns) for stream in Stream}

    def _partner(self, stream: Stream, stamp_ns: int) -> _Key | None:
        """Find the partner of a new message among what waits in the other stream.

        It is of the same era. Only where there is none may one of the two streams have gone back
        without its stamps telling: because it had shown nothing later before.
        """
        own, other = self._buffers[stream].eras.number, self._buffers[_OTHER[stream]].eras.number
        held = self._buffers[_OTHER[stream]].held
        partner = self._nearest(held, own, stamp_ns)
        if partner is None and own < other:
            return self._nearest(held, other, stamp_ns)
        if partner is None and own > other:
            doubtful = {key: entry for key, entry in held.items() if entry.is_doubtful}
            return self._nearest(doubtful, other, stamp_ns)
        return partner

    def _nearest(self, held: dict[_Key, _Held[T]], era: int, stamp_ns: int) -> _Key | None:
        if (era, stamp_ns) in held:
            return era, stamp_ns
        if not self._tolerance_ns:
            return None
        near = [
            key for key in held if key[0] == era and abs(key[1] - stamp_ns) <= self._tolerance_ns
        ]
        return min(near, key=lambda key: (abs(key[1] - stamp_ns), key), default=None)

    def _pop(self, stream: Stream, key: _Key) -> T:
        held = self._buffers[stream].held.pop(key)
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

    def _drop_past(self) -> list[Drop[T]]:
        present = min(buffer.eras.number for buffer in self._buffers.values())
        return [
            Drop(stream, self._pop(stream, key), Reason.CLOCK_JUMP)
            for stream, buffer in self._buffers.items()
            for key in sorted(buffer.held)
            if key[0] < present
        ]
