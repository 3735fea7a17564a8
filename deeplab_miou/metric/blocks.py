"""Counts of a stream in blocks of stamp time, in bounded memory, and their correlation.

Neighbouring frames are alike, so the unit of all error bars is a block of time, not a frame. When
there are more than ``max_blocks`` of them their length doubles: neighbours are added up in pairs.
That costs next to nothing, as beyond some thirty blocks more of them hardly sharpen a variance
(Schmeiser, Operations Research 1982), while longer ones are less alike.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.scores import divide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from deeplab_miou.metric.scores import AbsentClasses

    Terms = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_NS = 1_000_000_000
# Fewer blocks than this cannot show how much they vary.
MIN_BLOCKS = 8
# Beyond it, so few blocks cannot tell a correlation from a trend.
_MOST_CORRELATED = 0.8


@dataclass(frozen=True, eq=False)
class TimeBlocks:
    """Blocks of time at one instant.

    Attributes:
        block_ns: length of a block, nanoseconds.
        keys: (k,) int64, ascending: stamp // block length of each block that has frames.
        counts: (k, ...) int64, what was added in each.
        are_drives: each block is a whole drive. None of them is another's neighbour; ``block_ns``
            is 0 and the keys only number them.
    """

    block_ns: int
    keys: NDArray[np.int64]
    counts: NDArray[np.int64]
    are_drives: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def observed_s(self) -> float:
        """Time covered by blocks with frames, seconds."""
        return len(self) * self.block_ns / _NS

    def paired(self) -> TimeBlocks:
        """Return blocks of twice the length."""
        keys, place = np.unique(self.keys // 2, return_inverse=True)
        counts = np.zeros((len(keys), *self.counts.shape[1:]), np.int64)
        np.add.at(counts, place, self.counts)
        return TimeBlocks(2 * self.block_ns, keys, counts)

    def of_length(self, block_ns: int) -> TimeBlocks:
        """Return blocks of at least a length, which is theirs times a power of two."""
        return self if self.block_ns >= block_ns else self.paired().of_length(block_ns)

    def longest(self, least: int) -> TimeBlocks:
        """Return the longest blocks of which there are at least ``least``, or these."""
        paired = self.paired()
        return self if len(paired) < least else paired.longest(least)


class BlockSums:
    """Thread-safe sums by blocks of stamp time; memory does not grow with the stream.

    What is held depends on the counts and their stamps, not on the order in which they arrive.

    Args:
        shape: of the counts of one frame.
        block_s: length of a block in seconds of stamp time to start with.
        max_blocks: most blocks to hold, at least 16; blocks then double in length.

    Raises:
        ValueError: a parameter lies outside its range.
    """

    def __init__(self, shape: tuple[int, ...], *, block_s: float, max_blocks: int) -> None:
        if max_blocks < 2 * MIN_BLOCKS:
            raise ValueError(f"max_blocks must be at least {2 * MIN_BLOCKS}, but got {max_blocks}")
        if not 1 / _NS <= block_s < math.inf:
            raise ValueError(f"block_s must be at least a nanosecond, but got {block_s}")
        self._shape = shape
        self._first_block_ns = round(block_s * _NS)
        self._max_blocks = max_blocks
        self._lock = threading.Lock()
        self._block_ns = self._first_block_ns
        self._sums: dict[int, NDArray[np.int64]] = {}

    def add(self, frames: Iterable[tuple[NDArray[np.int64], int]]) -> None:
        """Add the counts of frames, each with its stamp in nanoseconds, in any order."""
        with self._lock:
            for counts, stamp_ns in frames:
                block = self._block(stamp_ns)
                block += counts

    def add_cells(self, frames: Iterable[tuple[NDArray[np.int64], NDArray[np.int64], int]]) -> None:
        """Add frames of whose counts most are zero, in any order.

        Args:
            frames: row-major indices of counts, none twice, the counts, and the stamp in
                nanoseconds.
        """
        with self._lock:
            for cells, counts, stamp_ns in frames:
                self._block(stamp_ns).reshape(-1)[cells] += counts

    def read(self) -> TimeBlocks:
        """Return copies of all blocks at one instant."""
        with self._lock:
            block_ns = self._block_ns
            keys = sorted(self._sums)
            counts = np.array([self._sums[key] for key in keys], np.int64)
        return TimeBlocks(
            block_ns, np.array(keys, np.int64), counts.reshape(len(keys), *self._shape)
        )

    def __deepcopy__(self, _memo: object) -> BlockSums:
        """Return the same sums with a lock of their own."""
        copied = BlockSums(
            self._shape, block_s=self._first_block_ns / _NS, max_blocks=self._max_blocks
        )
        with self._lock:
            copied._block_ns = self._block_ns
            copied._sums = {key: sums.copy() for key, sums in self._sums.items()}
        return copied

    def reset(self) -> None:
        """Forget everything and start again with blocks of ``block_s``."""
        with self._lock:
            self._block_ns = self._first_block_ns
            self._sums = {}

    def _block(self, stamp_ns: int) -> NDArray[np.int64]:
        """Return the sums of the block that a stamp lies in, to be added to."""
        held = self._sums.get(stamp_ns // self._block_ns)
        if held is not None:
            return held
        self._sums[stamp_ns // self._block_ns] = np.zeros(self._shape, np.int64)
        while len(self._sums) > self._max_blocks:
            self._block_ns *= 2
            paired: dict[int, NDArray[np.int64]] = {}
            for old, sums in self._sums.items():
                other = paired.get(old // 2)
                paired[old // 2] = sums if other is None else other + sums
            self._sums = paired
        return self._sums[stamp_ns // self._block_ns]


def influence(
    counts: NDArray[np.float64],
    weights: NDArray[np.float64],
    absent_classes: AbsentClasses = "exclude",
) -> NDArray[np.float64]:
    """Return what each block adds to the first-order change of mIoU and of each IoU.

    The IoU of a class is a quotient of sums, so its error is to first order the sum over blocks of
    ``(intersection - IoU union) / union of all blocks`` (the delta method, or infinitesimal
    jackknife: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 21).

    Args:
        counts: (k, 2, n) intersection and union by block.
        weights: (n,) of the mean.
        absent_classes: as in `compute_scores`.

    Returns:
        (k, 1 + n) float64: of the weighted mIoU, then of each IoU; zero for absent classes.
    """
    intersection, union = counts.sum(axis=0)
    residual = counts[:, 0] - np.nan_to_num(divide(intersection, union)) * counts[:, 1]
    by_class = np.nan_to_num(divide(residual, union))
    counted = weights if absent_classes == "zero" else weights * (union > 0)
    mean = np.einsum("kc,c->k", by_class, np.nan_to_num(divide(counted, counted.sum())))
    return np.concatenate((mean[:, np.newaxis], by_class), axis=1)


def decorrelated(
    blocks: TimeBlocks, terms: Terms, speaking: Callable[[TimeBlocks], int] = len
) -> TimeBlocks:
    """Pair blocks while neighbours pull the first statistic the same way and 8 remain.

    Args:
        blocks: as held.
        terms: gives the (k, m) terms of m statistics for the (k, ...) float64 counts of blocks.
        speaking: how many of some blocks say something of the first statistic.
    """
    while True:
        paired = blocks.paired()
        if speaking(paired) < MIN_BLOCKS:
            return blocks
        pull = terms(blocks.counts.astype(np.float64))[:, 0]
        # Not a test of significance: pairing in vain costs little width, not pairing costs cover.
        if pull[1:] @ pull[:-1] <= 0:
            return blocks
        blocks = paired


def widening(terms: NDArray[np.float64], caution: float = 2.0) -> NDArray[np.float64]:
    """Return by how much correlation that is left between blocks widens an interval.

    With correlation r from one block to the next, the sum of k blocks varies ``(1 + r) / (1 - r)``
    times as much as if they were independent (an AR(1) process). The estimate of r has a bias of
    about -1/k, and erring on the narrow side is what costs coverage: 2/k is added to it, which
    makes up for it in `bench/bootstrap_coverage.py`.

    Args:
        terms: (k, m) of m statistics; that of the first widens the others too.
        caution: k times what is added to the correlation.

    Returns:
        (m,) float64, at least 1.
    """
    size = len(terms)
    found = np.nan_to_num(divide((terms[1:] * terms[:-1]).sum(axis=0), (terms**2).sum(axis=0)))
    correlation = np.clip(np.maximum(found, found[0]) + caution / size, 0.0, _MOST_CORRELATED)
    factor: NDArray[np.float64] = np.sqrt((1 + correlation) / (1 - correlation))
    return factor
