"""Error bars of a stream's IoU: a block bootstrap over stamp time, in bounded memory.

Resampling single frames gives intervals that are far too short, because neighbours are alike. Whole
blocks of time are resampled instead (Carlstein, Annals of Statistics 1986); those that are still
found to be correlated are paired first, and what correlation is left widens the interval.

The interval is the expanded percentile interval (Hesterberg, The American Statistician 2015):
percentiles of the replicates at the levels at which a normal distribution reaches the quantile of
Student's t, which makes up for estimating the spread from few blocks.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric import anytime
from deeplab_miou.metric.blocks import MIN_BLOCKS, BlockSums, decorrelated, influence, widening
from deeplab_miou.metric.scores import (
    check_absent_classes,
    check_weights,
    class_counts,
    divide,
    mean_iou,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from deeplab_miou.metric.blocks import TimeBlocks
    from deeplab_miou.metric.scores import AbsentClasses

_NS = 1_000_000_000
_AT_A_TIME = 100


@dataclass(frozen=True, eq=False)
class Intervals:
    """Confidence intervals of mIoU and of each IoU.

    Attributes:
        miou: lower and upper bound, both NaN where there is no interval.
        iou: (n, 2) float64 bounds by class, NaN for classes that occur in too few blocks.
        blocks: how many blocks of time were resampled.
        reason: why ``miou`` has no interval, None where it has one.
        miou_anytime: bounds that hold at every moment of the stream together, both NaN while there
            are none, see `deeplab_miou.metric.anytime`.
        iou_anytime: (n, 2) float64, likewise by class.
        anytime_reason: why ``miou_anytime`` has no bounds yet, None where it has.
    """

    miou: tuple[float, float]
    iou: NDArray[np.float64]
    blocks: int
    reason: str | None
    miou_anytime: tuple[float, float]
    iou_anytime: NDArray[np.float64]
    anytime_reason: str | None

    @classmethod
    def none(cls, num_classes: int, blocks: int, reason: str) -> Intervals:
        """Return no intervals, and why."""
        nothing = (math.nan, math.nan)
        by_class = np.full((num_classes, 2), np.nan)
        return cls(nothing, by_class, blocks, reason, nothing, by_class, reason)


@dataclass(frozen=True, eq=False)
class Timeline:
    """mIoU over stamp time, a value for each block.

    Attributes:
        block_ns: length of a block, nanoseconds.
        starts_ns: (k,) int64, where each block with frames begins, ascending.
        miou: (k,) float64.
    """

    block_ns: int
    starts_ns: NDArray[np.int64]
    miou: NDArray[np.float64]


class BlockBootstrap:
    """Thread-safe block bootstrap of mIoU and IoU; memory does not grow with the stream.

    What is held depends on the frames and their stamps, not on the order in which they arrive, and
    the intervals are the same for the same frames and seed.

    Args:
        num_classes: n, at least 1.
        block_s: length of a block in seconds of stamp time to start with.
        max_blocks: most blocks to hold, at least 16; blocks then double in length.
        replicates: number of resampled streams, at least 100.
        confidence: coverage of the intervals, between 0 and 1.
        seed: of the resampling, not negative.

    Raises:
        ValueError: a parameter lies outside its range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        block_s: float = 1.0,
        max_blocks: int = 64,
        replicates: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("num_classes", num_classes, 1),
            ("replicates", replicates, 100),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, but got {value}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, but got {confidence}")
        self._num_classes = num_classes
        # Intersection and union of each class.
        self._sums = BlockSums((2, num_classes), block_s=block_s, max_blocks=max_blocks)
        self._replicates = replicates
        self._confidence = confidence
        self._seed = seed

    def update(self, matrix: NDArray[np.int64], stamp_ns: int | Sequence[int]) -> None:
        """Add one frame or several, in any order of stamps.

        Args:
            matrix: (n, n + 1) or (k, n, n + 1) int64 counts of each frame.
            stamp_ns: the stamp, or the k stamps, in nanoseconds.

        Raises:
            ValueError: the matrix has another shape or type, or there are not as many stamps.
        """
        n = self._num_classes
        if matrix.shape[-2:] != (n, n + 1) or matrix.ndim > 3 or matrix.dtype != np.int64:  # noqa: PLR2004
            raise ValueError(
                f"matrix must be int64 of shape {(n, n + 1)} or (k, {n}, {n + 1}), "
                f"but got {matrix.dtype} of shape {matrix.shape}"
            )
        counts = class_counts(matrix.reshape(-1, n, n + 1))
        stamps = [stamp_ns] if isinstance(stamp_ns, int) else stamp_ns
        labelled = np.asarray(counts[:, 1].any(axis=1))
        frames = zip(counts, stamps, labelled, strict=True)
        self._sums.add((each, stamp) for each, stamp, is_labelled in frames if is_labelled)

    def intervals(
        self,
        *,
        absent_classes: AbsentClasses = "exclude",
        class_weights: ArrayLike | None = None,
    ) -> Intervals:
        """Resample the blocks.

        Args:
            absent_classes: as in `compute_scores`.
            class_weights: (n,) weights of the mean; all one by default.

        Returns:
            The intervals; with too few blocks they are NaN and say why.

        Raises:
            ValueError: the weights do not fit the classes or ``absent_classes`` is unknown.
        """
        check_absent_classes(absent_classes)
        weights = check_weights(class_weights, self._num_classes)
        blocks = self._sums.read()
        if len(blocks) < MIN_BLOCKS:
            return Intervals.none(
                self._num_classes,
                len(blocks),
                f"an interval takes {MIN_BLOCKS} blocks of {blocks.block_ns / _NS:g} s with "
                f"labelled frames, and there are {len(blocks)}",
            )

        def terms(counts: NDArray[np.float64]) -> NDArray[np.float64]:
            return influence(counts, weights, absent_classes)

        longest = blocks.longest(anytime.MIN_BLOCKS)
        blocks = decorrelated(blocks, terms)
        # float64 sums of integers are exact to 2^53: the result is the same on every machine.
        counts = blocks.counts.astype(np.float64)
        replicates = self._replicate(counts, weights, absent_classes)
        found = _percentiles(replicates, _contributing(blocks), self._confidence)
        estimate = self._statistics(counts.sum(axis=0), weights, absent_classes)[:, np.newaxis]
        bounds = np.clip(
            estimate + (found - estimate) * widening(terms(counts))[:, np.newaxis], 0.0, 1.0
        )
        radius = anytime.anytime_radius(
            terms(longest.counts.astype(np.float64)), longest.observed_s, self._confidence
        )
        radius[_contributing(longest) < anytime.MIN_BLOCKS] = np.nan
        always = np.clip(estimate + radius[:, np.newaxis] * (-1.0, 1.0), 0.0, 1.0)
        reason = None
        if math.isnan(bounds[0, 0]):
            reason = "all class weights of the classes seen are zero"
        anytime_reason = reason
        if reason is None and math.isnan(always[0, 0]):
            anytime_reason = (
                f"bounds for every moment take {anytime.MIN_BLOCKS} blocks of "
                f"{longest.block_ns / _NS:g} s with labelled frames, and there are {len(longest)}"
            )
        return Intervals(
            miou=(float(bounds[0, 0]), float(bounds[0, 1])),
            iou=bounds[1:],
            blocks=len(blocks),
            reason=reason,
            miou_anytime=(float(always[0, 0]), float(always[0, 1])),
            iou_anytime=always[1:],
            anytime_reason=anytime_reason,
        )

    def timeline(self, *, absent_classes: AbsentClasses = "exclude") -> Timeline:
        """Return the mIoU of each block as held, before correlated ones are paired.

        Args:
            absent_classes: as in `compute_scores`.

        Raises:
            ValueError: ``absent_classes`` is unknown.
        """
        check_absent_classes(absent_classes)
        blocks = self._sums.read()
        equal = np.ones(self._num_classes)
        miou = self._statistics(blocks.counts.astype(np.float64), equal, absent_classes)[..., 0]
        return Timeline(blocks.block_ns, blocks.keys * blocks.block_ns, miou)

    def reset(self) -> None:
        """Forget all frames and start again with blocks of ``block_s``."""
        self._sums.reset()

    def _replicate(
        self,
        counts: NDArray[np.float64],
        weights: NDArray[np.float64],
        absent_classes: AbsentClasses,
    ) -> NDArray[np.float64]:
        """Return mIoU and IoU of each resampled stream, (replicates, 1 + n).

        Args:
            counts: (blocks, 2, n) intersection and union.
            weights: (n,) of the mean.
            absent_classes: as in `compute_scores`.
        """
        random = np.random.default_rng(self._seed)
        statistics = np.empty((self._replicates, 1 + self._num_classes))
        # A few at a time, because threads that resample in turns each keep what one has needed.
        for first in range(0, self._replicates, _AT_A_TIME):
            part = statistics[first : first + _AT_A_TIME]
            times = _draw(random, len(part), len(counts))
            # Not `@`: its library's threads spin for a tenth of a second after each such product.
            part[:] = self._statistics(
                np.einsum("rb,bkc->rkc", times, counts), weights, absent_classes
            )
        return statistics

    @staticmethod
    def _statistics(
        counts: NDArray[np.float64], weights: NDArray[np.float64], absent_classes: AbsentClasses
    ) -> NDArray[np.float64]:
        """Return mIoU and IoU, (..., 1 + n), of (..., 2, n) counts."""
        iou = divide(counts[..., 0, :], counts[..., 1, :])
        mean = mean_iou(iou, weights, absent_classes)
        return np.concatenate((mean[..., np.newaxis], iou), axis=-1)


def _draw(random: np.random.Generator, replicates: int, blocks: int) -> NDArray[np.float64]:
    """Return (replicates, blocks) float64: how often each replicate drew each block."""
    drawn = random.integers(blocks, size=(replicates, blocks))
    drawn += np.arange(replicates)[:, np.newaxis] * blocks
    times = np.bincount(drawn.reshape(-1), minlength=drawn.size)
    return times.reshape(replicates, blocks).astype(np.float64)


def _contributing(blocks: TimeBlocks) -> NDArray[np.int64]:
    """Return how many blocks say something of mIoU and of each IoU, (1 + n,)."""
    occurs = (blocks.counts[:, 1] > 0).sum(axis=0)
    return np.concatenate(([len(blocks)], occurs))


def _percentiles(
    replicates: NDArray[np.float64], blocks: NDArray[np.int64], confidence: float
) -> NDArray[np.float64]:
    """Return the expanded percentile intervals of (replicates, k) statistics as (k, 2).

    NaN replicates are left out: those without a pixel of a class say nothing of its IoU. A
    statistic to which fewer than `MIN_BLOCKS` of the ``blocks`` contribute has no interval.
    """
    ascending = np.sort(replicates.T, axis=1)
    bounds = np.full((len(blocks), 2), np.nan)
    for k, size in enumerate(blocks):
        last = np.count_nonzero(~np.isnan(ascending[k])) - 1
        if size < MIN_BLOCKS or last < 0:
            continue
        level = _expanded_level(int(size), confidence)
        bounds[k] = np.interp(
            (level * last, (1 - level) * last), np.arange(last + 1), ascending[k, : last + 1]
        )
    return bounds


@functools.lru_cache(maxsize=128)
def _expanded_level(blocks: int, confidence: float) -> float:
    """Return the lower percentile's level for a number of blocks."""
    t = _student_t((1 + confidence) / 2, blocks - 1)
    return NormalDist().cdf(-t * math.sqrt(blocks / (blocks - 1)))


def _student_t(p: float, freedom: int) -> float:
    """Return a quantile of Student's t (Abramowitz and Stegun 26.7.5, four terms)."""
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**k for k, term in enumerate(terms))
