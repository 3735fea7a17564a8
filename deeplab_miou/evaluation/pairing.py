"""Pair images and labels by stamp, in bounded memory, with every message accounted for.

The pairs are those of `deeplab_miou.evaluation.matching`: they depend on the stamps, not on the
order of arrival. Equal stamps are paired at once. With a tolerance other pairs wait until both
streams have come so far that nothing nearer is to be expected, or until a message has to go. What
is not paired comes back with a reason, and no lock is held while a pair is processed. When time
goes back, each stream's messages pair with those of the same era of the other, however far one is
behind the other.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.matching import match
from deeplab_miou.evaluation.stamp_eras import StampEras
from deeplab_miou.evaluation.stream_buffer import Held, StreamBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.stream_buffer import Key

T = TypeVar("T")
_OTHER = {Stream.IMAGE: Stream.LABEL, Stream.LABEL: Stream.IMAGE}
_UNMATCHED = {Stream.IMAGE: Reason.UNMATCHED_IMAGE, Stream.LABEL: Reason.UNMATCHED_LABEL}


@dataclass(frozen=True, slots=True)
class Pair(Generic[T]):
    """An image and the label that belongs to it, with the depth image if one is needed and there.

    A pair is of messages; only `DepthPairer` has pairs of pairs.
    """

    image: T
    label: T
    depth: T | None = None


@dataclass(frozen=True, slots=True)
class Drop(Generic[T]):
    """A message that will not be paired, and why."""

    stream: Stream
    item: T
    reason: Reason


@dataclass(frozen=True)
class PairingResult(Generic[T]):
    """What one call decided.

    Attributes:
        pairs: pairs found.
        drops: messages given up.
        jumped: time went back; set once per era, by the first stream that goes back.
    """

    pairs: list[Pair[T]] = field(default_factory=list)
    drops: list[Drop[T]] = field(default_factory=list)
    jumped: bool = False


class Pairer(Generic[T]):
    """Thread-safe pairing of two streams.

    Args:
        tolerance_ns: greatest difference of the two stamps of a pair; 0 pairs equal stamps only.
        max_frames: messages held for each stream; beyond it the oldest stamp is given up.
        max_bytes: payload held in both streams together, with the same consequence.
        jump_threshold_ns: an image whose stamp is further than this behind the newest one means
            that time went back (a bag that loops, a simulator that starts again).
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

    def observe(self, stream: Stream, stamp_ns: int) -> PairingResult[T]:
        """Look at the stamp of a message that is about to be added: did time go back?

        What waits for a partner of an era that both streams have left is paired or given up.
        """
        with self._lock:
            own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
            is_behind = own.eras.number < other.eras.number
            if not own.observe(stamp_ns, is_behind=is_behind):
                return PairingResult()
            result: PairingResult[T] = PairingResult(jumped=own.eras.number > other.eras.number)
            self._end_past(result)
            return result

    def add(self, stream: Stream, stamp_ns: int, item: T, size: int) -> PairingResult[T]:
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
                return PairingResult(drops=[Drop(stream, item, Reason.DUPLICATE_STAMP)])
            result: PairingResult[T] = PairingResult()
            if (era, stamp_ns) in own.held:
                replaced = self._pop(stream, (era, stamp_ns))
                result.drops.append(Drop(stream, replaced, Reason.DUPLICATE_STAMP))
            held = Held(item, size, era < other.eras.number, own.eras.is_late(stamp_ns))
            own.hold((era, stamp_ns), held)
            self._bytes += size
            partner = self._partner_at_once(stream, stamp_ns)
            if partner is not None:
                self._pair(stream, (era, stamp_ns), partner, result)
            if self._tolerance_ns:
                self._pair_decided(era, result)
            self._evict(stream, result)
            return result

    def flush(self) -> PairingResult[T]:
        """Pair what is near enough and give up everything else: nothing more is coming."""
        with self._lock:
            result: PairingResult[T] = PairingResult()
            for era in self._eras_held():
                self._pair_all(era, result)
            for stream, buffer in self._buffers.items():
                while buffer.held:
                    self._give_up(stream, result)
            return result

    def give_up_passed(self, stream: Stream) -> PairingResult[T]:
        """Give up messages of a stream that have no partner and can expect none."""
        with self._lock:
            result: PairingResult[T] = PairingResult()
            own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
            while own.order:
                era, stamp_ns = own.order[0]
                is_passed = other.eras.passed_ns(era) > stamp_ns + self._tolerance_ns
                if not is_passed or other.nearest(era, stamp_ns, self._tolerance_ns) is not None:
                    break
                self._give_up(stream, result)
            return result

    def end_oldest(self, stream: Stream, is_over: Callable[[T], bool]) -> PairingResult[T]:
        """Pair or give up the oldest messages of a stream, as long as their time is over.

        Args:
            stream: whose messages.
            is_over: returns whether the time of a message is over; must be fast.
        """
        with self._lock:
            result: PairingResult[T] = PairingResult()
            own = self._buffers[stream]
            while own.order and is_over(own.held[own.order[0]].item):
                self._end_oldest(stream, result)
            return result

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

    def _make_buffers(self) -> dict[Stream, StreamBuffer[T]]:
        return {
            # Labels may be late for reasons of their own; images are not.
            stream: StreamBuffer(
                StampEras(self._jump_threshold_ns, may_be_late=stream is Stream.LABEL),
                follows_changes=self._tolerance_ns > 0,
            )
            for stream in Stream
        }

    def _partner_at_once(self, stream: Stream, stamp_ns: int) -> Key | None:
        """Find the partner of a new message that need not wait for anything.

        In its era that is the one with its stamp. Only where none is near may one of the two
        streams have gone back without its stamps telling: because it had shown nothing later
        before.
        """
        own, other = self._buffers[stream], self._buffers[_OTHER[stream]]
        here, there = own.eras.number, other.eras.number
        if (here, stamp_ns) in other.held:
            return here, stamp_ns
        if here == there or other.nearest(here, stamp_ns, self._tolerance_ns) is not None:
            return None
        found = other.nearest(there, stamp_ns, self._tolerance_ns)
        if found is None:
            return None
        held = other.held[there, found]
        return (there, found) if here < there or held.is_doubtful or held.is_late else None

    def _pair(self, stream: Stream, key: Key, partner: Key, result: PairingResult[T]) -> None:
        """Pair a message with one of the other stream, which may lie in another era."""
        item, paired = self._pop(stream, key), self._pop(_OTHER[stream], partner)
        era = max(key[0], partner[0])
        for buffer in self._buffers.values():
            if buffer.eras.number < era:
                buffer.catch_up(era)
                self._end_past(result)
        self._buffers[stream].end(era, key[1])
        self._buffers[_OTHER[stream]].end(era, partner[1])
        result.pairs.append(Pair(item, paired) if stream is Stream.IMAGE else Pair(paired, item))

    def _pair_decided(self, era: int, result: PairingResult[T]) -> None:
        """Pair what is nearest to each other and cannot find anything nearer any more."""
        few = min(self._buffers.values(), key=lambda buffer: len(buffer.order))
        # A message is within the tolerance of its partner, which is within it of what has changed.
        reach_ns = 2 * self._tolerance_ns
        while spans := [span for each in self._buffers.values() for span in each.changes(era)]:
            for low_ns, high_ns in spans:
                for stamp_ns in few.stamps_within(era, low_ns - reach_ns, high_ns + reach_ns):
                    pair = self._decided(few, era, stamp_ns)
                    if pair is not None:
                        self._pair(Stream.IMAGE, (era, pair[0]), (era, pair[1]), result)

    def _decided(self, few: StreamBuffer[T], era: int, stamp_ns: int) -> tuple[int, int] | None:
        """Return the pair, image first, that a message of a stream is part of, if it is decided."""
        images, labels = self._buffers[Stream.IMAGE], self._buffers[Stream.LABEL]
        many = labels if few is images else images
        found = many.nearest(era, stamp_ns, self._tolerance_ns)
        if found is None or few.nearest(era, found, self._tolerance_ns) != stamp_ns:
            return None
        image_ns, label_ns = (stamp_ns, found) if few is images else (found, stamp_ns)
        distance = abs(image_ns - label_ns)
        if labels.eras.has_passed(era, image_ns + distance) and images.eras.has_passed(
            era, label_ns + distance
        ):
            return image_ns, label_ns
        return None

    def _pair_all(self, era: int, result: PairingResult[T]) -> None:
        """Pair what waits as if nothing more came."""
        if not self._tolerance_ns:
            return
        images, labels = (self._buffers[stream].stamps(era) for stream in Stream)
        for image_ns, label_ns in match(images, labels, self._tolerance_ns):
            self._pair(Stream.IMAGE, (era, image_ns), (era, label_ns), result)

    def _eras_held(self) -> list[int]:
        return sorted({era for buffer in self._buffers.values() for era, _ in buffer.order})

    def _pop(self, stream: Stream, key: Key) -> T:
        held = self._buffers[stream].pop(key)
        self._bytes -= held.size
        return held.item

    def _evict(self, stream: Stream, result: PairingResult[T]) -> None:
        if len(self._buffers[stream].held) > self._max_frames:
            self._end_oldest(stream, result)
        # One message may be larger than the bound: it is held alone rather than never paired.
        while (
            self._bytes > self._max_bytes and sum(len(b.held) for b in self._buffers.values()) > 1
        ):
            oldest = min(
                (stream for stream in Stream if self._buffers[stream].held),
                key=lambda stream: self._buffers[stream].order[0],
            )
            self._end_oldest(oldest, result)

    def _end_oldest(self, stream: Stream, result: PairingResult[T]) -> None:
        """Pair the oldest message as if nothing more came, or give it up."""
        era, stamp_ns = self._buffers[stream].order[0]
        other = self._buffers[_OTHER[stream]]
        if self._tolerance_ns and other.nearest(era, stamp_ns, self._tolerance_ns) is not None:
            images, labels = (self._buffers[each].stamps(era) for each in Stream)
            place = int(stream is Stream.LABEL)
            for pair in match(images, labels, self._tolerance_ns):
                if pair[place] == stamp_ns:
                    self._pair(Stream.IMAGE, (era, pair[0]), (era, pair[1]), result)
                    return
        self._give_up(stream, result)

    def _give_up(self, stream: Stream, result: PairingResult[T]) -> None:
        item = self._pop(stream, self._buffers[stream].order[0])
        result.drops.append(Drop(stream, item, _UNMATCHED[stream]))

    def _end_past(self, result: PairingResult[T]) -> None:
        """Pair or give up what waits in eras that both streams have left."""
        present = min(buffer.eras.number for buffer in self._buffers.values())
        for era in self._eras_held():
            if era < present:
                self._pair_all(era, result)
        for stream, buffer in self._buffers.items():
            buffer.forget(present)
            while buffer.order and buffer.order[0][0] < present:
                item = self._pop(stream, buffer.order[0])
                result.drops.append(Drop(stream, item, Reason.CLOCK_JUMP))
