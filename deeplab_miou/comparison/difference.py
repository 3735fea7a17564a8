"""The difference of two networks on the same frames, its bounds, and what they decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from deeplab_miou.metric.blocks import BlockSums
from deeplab_miou.metric.bootstrap import DifferenceStatistics, IouStatistics
from deeplab_miou.metric.drives import DriveSums
from deeplab_miou.metric.resampling import Resampling, find_anytime, find_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.metric.blocks import TimeBlocks
    from deeplab_miou.metric.resampling import Bounds
    from deeplab_miou.metric.scores import AbsentClasses
    from deeplab_miou.report.frame_table import FrameTable

Verdict = Literal["better", "worse", "equivalent", "no evidence"]
_BLOCK_S = 1.0
_MAX_BLOCKS = 64
_CONFIDENCE = 0.95
_LIMITS = (-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Difference:
    """What k common frames say of B against A; index 0 is mIoU, 1 + c is the IoU of class c.

    Attributes:
        a: (1 + n,) float64 scores of A; NaN for absent classes.
        b: (1 + n,) float64 scores of B.
        bounds: of B - A, 95 %.
        margin: differences within it do not matter.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    bounds: Bounds
    margin: float

    @property
    def value(self) -> NDArray[np.float64]:
        """(1 + n,) float64, B - A."""
        return self.b - self.a

    def verdict(self, index: int = 0) -> Verdict:
        """Return what the bounds of mIoU (0) or of a class (1 + id) decide."""
        return _verdict(self.bounds.fixed[index], self.bounds.one_sided[index], self.margin)

    def worse_by(self, margin: float) -> bool:
        """Return whether B is shown to be worse than A by more than a margin (one-sided, 5 %)."""
        return bool(self.bounds.one_sided[0, 1] < -margin)

    def not_worse_by(self, margin: float) -> bool:
        """Return whether B is shown not to be worse than A by a margin (one-sided, 5 %)."""
        return bool(self.bounds.one_sided[0, 0] > -margin)


def compare(
    a: FrameTable,
    b: FrameTable,
    *,
    margin: float,
    absent_classes: AbsentClasses = "exclude",
    seed: int = 0,
) -> Difference:
    """Compare two networks on the same frames of one drive by a paired block bootstrap.

    Args:
        a: counts of the one, frame by frame.
        b: counts of the other on the same frames in the same order.
        margin: differences within it do not matter.
        absent_classes: as in `compute_scores`.
        seed: of the resampling.
    """
    sums = paired_sums(len(a.class_names))
    add_pair(sums, a, b)
    return compare_blocks(sums.read(), margin=margin, absent_classes=absent_classes, seed=seed)


def paired_sums(num_classes: int) -> DriveSums:
    """Return sums for `add_pair`."""
    return DriveSums((2, 2, num_classes), block_s=_BLOCK_S, max_blocks=_MAX_BLOCKS)


def paired_blocks(num_classes: int) -> BlockSums:
    """Return what holds one stream as `paired_sums` hold one drive; counts are (2, 2, n)."""
    return BlockSums((2, 2, num_classes), block_s=_BLOCK_S, max_blocks=_MAX_BLOCKS)


def add_pair(sums: DriveSums, a: FrameTable, b: FrameTable) -> None:
    """Add a drive: the same frames in the same order as two networks predicted them."""
    sums.add(np.stack((a.overlaps, b.overlaps), axis=1), a.stamps_ns)


def compare_blocks(
    blocks: TimeBlocks,
    *,
    margin: float,
    absent_classes: AbsentClasses = "exclude",
    seed: int = 0,
) -> Difference:
    """Compare two networks by blocks of time, or by drives.

    Args:
        blocks: what `paired_sums` holds, counts (k, 2, 2, n).
        margin: differences within it do not matter.
        absent_classes: as in `compute_scores`.
        seed: of the resampling.
    """
    total = blocks.counts.sum(axis=0).astype(np.float64)
    each = IouStatistics(np.ones(total.shape[-1]), absent_classes)
    resampling = Resampling(confidence=_CONFIDENCE, seed=seed)
    return Difference(
        each.values(total[0]),
        each.values(total[1]),
        find_bounds(blocks, DifferenceStatistics(each), resampling, _LIMITS),
        margin,
    )


def decide(
    blocks: TimeBlocks, *, margin: float, absent_classes: AbsentClasses = "exclude"
) -> Verdict:
    """Return what the bounds that hold at every moment decide of mIoU.

    If you ask after every frame and stop at the first verdict, you are wrong in at most 5 % of
    streams.

    Args:
        blocks: as of `compare_blocks`, of time.
        margin: differences within it do not matter.
        absent_classes: as in `compute_scores`.
    """
    each = IouStatistics(np.ones(blocks.counts.shape[-1]), absent_classes)
    bounds, _ = find_anytime(blocks, DifferenceStatistics(each), _CONFIDENCE, _LIMITS)
    return _verdict(bounds[0], bounds[0], margin)


def _verdict(bounds: NDArray[np.float64], narrow: NDArray[np.float64], margin: float) -> Verdict:
    """Return what bounds decide; those of two one-sided tests may be narrower."""
    if bounds[0] > 0:
        return "better"
    if bounds[1] < 0:
        return "worse"
    return "equivalent" if -margin < narrow[0] and narrow[1] < margin else "no evidence"
