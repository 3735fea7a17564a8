"""Finds the depth image of each pair of image and label, in bounded memory.

A pair never depends on it: without a depth image it is scored all the same, but for the regions
that one defines. It waits until the depth image of its stamp is there, or the depth topic has come
so far that none is to be expected, or until it has to go.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.outcomes import Arrival
from deeplab_miou.evaluation.pairing import Pair, Pairer
from deeplab_miou.images.raw_pixels import byte_count

if TYPE_CHECKING:
    from deeplab_miou.evaluation.pairing import PairingResult

# Labels may be late for reasons of their own, and pairs with them; depth images are not.
_DEPTH, _PAIR = Stream.IMAGE, Stream.LABEL


class DepthPairer:
    """Thread-safe; depth images and pairs are matched as images and labels are.

    Args:
        pairer: matches them: depth images as its images, pairs by their images' stamps as its
            labels.
    """

    def __init__(self, pairer: Pairer[Arrival | Pair[Arrival]]) -> None:
        self._pairer = pairer
        # Pairs leave in the order in which they are decided.
        self._lock = threading.Lock()

    def add_pair(self, pair: Pair[Arrival]) -> list[Pair[Arrival]]:
        """Add a pair and return the pairs that need not wait any longer."""
        size = byte_count(pair.image.image.data) + byte_count(pair.label.image.data)
        return self._add(_PAIR, pair.image.stamp_ns, pair, size)

    def add_depth(self, arrival: Arrival) -> list[Pair[Arrival]]:
        """Add a depth image, likewise."""
        return self._add(_DEPTH, arrival.stamp_ns, arrival, byte_count(arrival.image.data))

    def expire(self, before_s: float) -> list[Pair[Arrival]]:
        """Return pairs that have been complete since before a time of the monotonic clock."""

        def is_over(item: Arrival | Pair[Arrival]) -> bool:
            return (
                isinstance(item, Pair)
                and max(item.image.arrival_s, item.label.arrival_s) < before_s
            )

        return _released(self._pairer.end_oldest(_PAIR, is_over))

    def flush(self) -> list[Pair[Arrival]]:
        """Return all pairs: nothing more is coming."""
        return _released(self._pairer.flush())

    def reset(self) -> None:
        """Forget everything."""
        self._pairer.reset()

    def waiting(self) -> int:
        """Return how many pairs wait."""
        return self._pairer.waiting()[_PAIR]

    @property
    def held_bytes(self) -> int:
        """Payload of pairs and depth images that wait, bytes."""
        return self._pairer.held_bytes

    def _add(
        self, stream: Stream, stamp_ns: int, item: Arrival | Pair[Arrival], size: int
    ) -> list[Pair[Arrival]]:
        with self._lock:
            return [
                *_released(self._pairer.observe(stream, stamp_ns)),
                *_released(self._pairer.add(stream, stamp_ns, item, size)),
                *_released(self._pairer.give_up_passed(_PAIR)),
            ]


def _released(result: PairingResult[Arrival | Pair[Arrival]]) -> list[Pair[Arrival]]:
    """Return the pairs in a result: those without a depth image, which are older, first."""
    alone = [drop.item for drop in result.drops if isinstance(drop.item, Pair)]
    both = [
        replace(found.label, depth=found.image)
        for found in result.pairs
        if isinstance(found.label, Pair) and isinstance(found.image, Arrival)
    ]
    return [*alone, *both]
