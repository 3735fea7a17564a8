"""Error bars of a stream's IoU and its course over time, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.blocks import BlockSums, TimeBlocks, influence
from deeplab_miou.metric.counts import as_stacks
from deeplab_miou.metric.resampling import Resampling, find_bounds
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

    from deeplab_miou.metric.scores import AbsentClasses


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
        unit: what ``blocks`` counts: ``blocks of time``, or ``drives`` as wholes.
    """

    miou: tuple[float, float]
    iou: NDArray[np.float64]
    blocks: int
    reason: str | None
    miou_anytime: tuple[float, float]
    iou_anytime: NDArray[np.float64]
    anytime_reason: str | None
    unit: str = "blocks of time"

    @classmethod
    def none(cls, num_classes: int, blocks: int, reason: str, unit: str) -> Intervals:
        """Return that there are no intervals, and why."""
        nothing, of_classes = (math.nan, math.nan), np.full((num_classes, 2), np.nan)
        return cls(nothing, of_classes, blocks, reason, nothing, of_classes, reason, unit)


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


@dataclass(frozen=True, eq=False)
class IouStatistics:
    """mIoU, then each IoU, of (2, n) counts of intersection and union; implements `Statistics`.

    Attributes:
        weights: (n,) of the mean.
        absent_classes: as in `compute_scores`.
    """

    weights: NDArray[np.float64]
    absent_classes: AbsentClasses

    def values(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return mIoU and IoU, (..., 1 + n), of (..., 2, n) counts; NaN where absent."""
        iou = divide(counts[..., 0, :], counts[..., 1, :])
        mean = mean_iou(iou, self.weights, self.absent_classes)
        return np.concatenate((mean[..., np.newaxis], iou), axis=-1)

    def terms(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (k, 1 + n) first-order terms of (k, 2, n) counts."""
        return influence(counts, self.weights, self.absent_classes)

    def occurs(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (k, 1 + n): mIoU is defined in every block, a class's IoU is not."""
        seen = counts[:, 1] > 0
        return np.concatenate((np.ones((len(counts), 1), bool), seen), axis=1)


@dataclass(frozen=True, eq=False)
class DifferenceStatistics:
    """Differences B - A of mIoU and each IoU; implements `Statistics`.

    Counts are (2, 2, n): intersection and union of A, then of B.

    Attributes:
        each: mIoU and IoU of one network.
    """

    each: IouStatistics

    def values(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (..., 1 + n) differences of (..., 2, 2, n) counts."""
        difference: NDArray[np.float64] = self.each.values(counts[..., 1, :, :])
        return difference - self.each.values(counts[..., 0, :, :])

    def terms(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (k, 1 + n) first-order terms of (k, 2, 2, n) counts."""
        return self.each.terms(counts[:, 1]) - self.each.terms(counts[:, 0])

    def occurs(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (k, 1 + n): where either network's counts say something."""
        return self.each.occurs(counts[:, 0]) | self.each.occurs(counts[:, 1])


def find_intervals(
    blocks: TimeBlocks, statistics: IouStatistics, resampling: Resampling
) -> Intervals:
    """Return the intervals of mIoU and of each IoU.

    Args:
        blocks: with (2, n) counts of intersection and union.
        statistics: how the mean is made.
        resampling: how to resample.
    """
    found = find_bounds(blocks, statistics, resampling, (0.0, 1.0))
    reason, anytime_reason = found.reason, found.anytime_reason
    if reason is None and math.isnan(found.fixed[0, 0]):
        reason = anytime_reason = "all class weights of the classes seen are zero"
    return Intervals(
        miou=(float(found.fixed[0, 0]), float(found.fixed[0, 1])),
        iou=found.fixed[1:],
        blocks=found.blocks,
        reason=reason,
        miou_anytime=(float(found.anytime[0, 0]), float(found.anytime[0, 1])),
        iou_anytime=found.anytime[1:],
        anytime_reason=anytime_reason,
        unit=found.unit,
    )


class BlockBootstrap:
    """Thread-safe block bootstrap of mIoU and IoU; memory does not grow with the stream.

    What is held depends on the frames and their stamps, not on the order in which they arrive, and
    the intervals are the same for the same frames and seed.

    Args:
        num_classes: n, at least 1.
        regions: how many regions each frame has, see `deeplab_miou.metric.counts.Counts`.
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
        regions: int = 0,
        block_s: float = 1.0,
        max_blocks: int = 64,
        replicates: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, but got {num_classes}")
        self._num_classes = num_classes
        self._matrices = 1 + regions
        # Intersection and union of each class, in the whole frame and in each region.
        shape = (self._matrices, 2, num_classes)
        self._sums = BlockSums(shape, block_s=block_s, max_blocks=max_blocks)
        self._resampling = Resampling(replicates, confidence, seed)

    def update(self, matrix: NDArray[np.int64], stamp_ns: int | Sequence[int]) -> None:
        """Add one frame or several, in any order of stamps.

        Args:
            matrix: (n, n + 1) or (k, n, n + 1) int64 counts of each frame; with regions (k, 1 + r,
                n, n + 1), each as `Counts.stack`.
            stamp_ns: the stamp, or the k stamps, in nanoseconds.

        Raises:
            ValueError: the matrix has another shape or type, or there are not as many stamps.
        """
        n = self._num_classes
        counts = class_counts(as_stacks(matrix, (self._matrices, n, n + 1)))
        stamps = [stamp_ns] if isinstance(stamp_ns, int) else stamp_ns
        labelled = np.asarray(counts[:, 0, 1].any(axis=1))
        frames = zip(counts, stamps, labelled, strict=True)
        self._sums.add((each, stamp) for each, stamp, is_labelled in frames if is_labelled)

    def read(self) -> TimeBlocks:
        """Return the blocks as held: (k, 1 + r, 2, n) counts, of the whole frames first."""
        return self._sums.read()

    def blocks(self, region: int | None = None) -> TimeBlocks:
        """Return the blocks in which there are labelled pixels: others say nothing.

        Args:
            region: which region's; the whole frames' by default.

        Returns:
            Blocks with (k, 2, n) counts.
        """
        blocks = self._sums.read()
        counts = blocks.counts[:, 0 if region is None else 1 + region]
        is_labelled = counts[:, 1].any(axis=1)
        return TimeBlocks(blocks.block_ns, blocks.keys[is_labelled], counts[is_labelled])

    def intervals(
        self,
        *,
        region: int | None = None,
        absent_classes: AbsentClasses = "exclude",
        class_weights: ArrayLike | None = None,
    ) -> Intervals:
        """Resample the blocks.

        Args:
            region: which region's; the whole frames' by default.
            absent_classes: as in `compute_scores`.
            class_weights: (n,) weights of the mean; all one by default.

        Returns:
            The intervals; with too few blocks they are NaN and say why.

        Raises:
            ValueError: the weights do not fit the classes or ``absent_classes`` is unknown.
        """
        check_absent_classes(absent_classes)
        weights = check_weights(class_weights, self._num_classes)
        return find_intervals(
            self.blocks(region), IouStatistics(weights, absent_classes), self._resampling
        )

    def timeline(
        self, *, region: int | None = None, absent_classes: AbsentClasses = "exclude"
    ) -> Timeline:
        """Return the mIoU of each block as held, before correlated ones are paired.

        Args:
            region: which region's; the whole frames' by default.
            absent_classes: as in `compute_scores`.

        Raises:
            ValueError: ``absent_classes`` is unknown.
        """
        check_absent_classes(absent_classes)
        blocks = self.blocks(region)
        statistics = IouStatistics(np.ones(self._num_classes), absent_classes)
        miou = statistics.values(blocks.counts.astype(np.float64))[:, 0]
        return Timeline(blocks.block_ns, blocks.keys * blocks.block_ns, miou)

    def reset(self) -> None:
        """Forget all frames and start again with blocks of ``block_s``."""
        self._sums.reset()
