"""Scores of single frames and their means: an average frame, and the worst ones.

mIoU pools the pixels of all frames, so that frames with much of a class count for more, and a few
bad frames vanish among many good ones. The means of Wang et al. ("Revisiting Evaluation Metrics for
Semantic Segmentation", NeurIPS 2023) take every frame for itself, over the classes in its ground
truth:

* image: mean over frames of each frame's mean IoU (mIoU^I);
* class: mean over classes of the mean IoU of the frames in which a class occurs (mIoU^C);
* worst: mean of the lowest 5 % of the frames' mean IoU, at least one frame.

Memory does not grow with the stream. IoU is summed as whole multiples of 2^-32, so that the order
of the frames does not matter. The frames' mean IoU is held as a histogram of 4096 bins with the sum
of each, so that the worst mean is exact but for the last bin that it takes a part of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.blocks import BlockSums, TimeBlocks
from deeplab_miou.metric.drives import DriveSums
from deeplab_miou.metric.resampling import Resampling, find_bounds
from deeplab_miou.metric.scores import class_counts, divide, frame_mious

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

WORST_SHARE = 0.05
# In words, by the name of the field.
IMAGE_SCORES = {
    "image": "mean over frames of their mIoU",
    "by_class": "mean over classes of their mean IoU in frames",
    "worst": "mean mIoU of the worst 5 % of frames",
}
# Their names in messages and criteria; bounds have ``_lower`` and ``_upper`` at the end.
IMAGE_FIELDS = {
    "image": "frame_miou",
    "by_class": "frame_class_miou",
    "worst": "worst_frames_miou",
}
# The mean of fewer than ten frames is one of extremes, which resampling does not show to vary: of
# 40 frames, half the intervals would miss it.
_FEWEST_FOR_WORST = 200
_UNIT = 2.0**32
_BINS = 4096
# Resampled a thousand times, fewer do: 256 bins differ from 4096 by less than the interval's width.
_RESAMPLED_BINS = 256


@dataclass(frozen=True)
class Estimate:
    """A score and its 95 % interval.

    Attributes:
        value: NaN before the first labelled frame.
        lower: NaN where there is no interval.
        upper: likewise.
        reason: why there is no interval, None where there is one.
    """

    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    reason: str | None = None


@dataclass(frozen=True)
class ImageScores:
    """Means over frames.

    Attributes:
        image: mIoU^I.
        by_class: mIoU^C.
        worst: mean of the worst frames.
    """

    image: Estimate = Estimate()
    by_class: Estimate = Estimate()
    worst: Estimate = Estimate()


class ImageStatistics:
    """Thread-safe sums from which the means over frames are computed.

    Args:
        num_classes: n, at least 1.
        block_s: length of a block in seconds of stamp time to start with.
        max_blocks: most blocks to hold; blocks then double in length.
    """

    def __init__(self, num_classes: int, *, block_s: float = 1.0, max_blocks: int = 64) -> None:
        self._num_classes = num_classes
        self._sums = BlockSums(_shape(num_classes, _BINS), block_s=block_s, max_blocks=max_blocks)

    def update(self, matrices: NDArray[np.int64], stamps_ns: Sequence[int]) -> None:
        """Add frames, in any order of stamps.

        Args:
            matrices: (k, n, n + 1) int64 counts of each frame.
            stamps_ns: k stamps, nanoseconds.
        """
        present: NDArray[np.bool_] = np.any(matrices, axis=-1)
        self._sums.add_cells(_frames(class_counts(matrices), present, stamps_ns, _BINS))

    def scores(self) -> ImageScores:
        """Resample the blocks, and return the means with their intervals."""
        held = self._sums.read()
        if not len(held):
            return ImageScores()
        means, bins = np.split(held.counts, [1 + self._num_classes], axis=2)
        merged = bins.reshape(*bins.shape[:2], _RESAMPLED_BINS, -1).sum(axis=-1)
        coarser = np.concatenate((means, merged), axis=2)
        blocks = TimeBlocks(held.block_ns, held.keys, coarser)
        return _scores(held.counts.sum(axis=0), blocks, self._num_classes)

    def reset(self) -> None:
        """Forget all frames."""
        self._sums.reset()


class DriveImages:
    """Means over the frames of many drives, in memory that grows by some kilobytes with each.

    Args:
        num_classes: n, at least 1.
        block_s: length of the blocks of time to start with, seconds, while there are few drives.
    """

    def __init__(self, num_classes: int, *, block_s: float = 1.0) -> None:
        self._num_classes = num_classes
        self._total = np.zeros(_shape(num_classes, _BINS), np.int64)
        self._sums = DriveSums(_shape(num_classes, _RESAMPLED_BINS), block_s=block_s)

    def add(
        self,
        overlaps: NDArray[np.int64],
        present: NDArray[np.bool_],
        stamps_ns: Sequence[int],
    ) -> None:
        """Add a drive.

        Args:
            overlaps: (k, 2, n) int64 intersection and union of its frames.
            present: (k, n) whether the ground truth of a frame has pixels of a class.
            stamps_ns: k stamps, nanoseconds.
        """
        for cells, counts, _ in _frames(overlaps, present, stamps_ns, _BINS):
            self._total.reshape(-1)[cells] += counts
        self._sums.add_cells(_frames(overlaps, present, stamps_ns, _RESAMPLED_BINS))

    def scores(self) -> ImageScores:
        """Resample drives, or blocks of time while there are few."""
        held = self._sums.read()
        return _scores(self._total, held, self._num_classes) if len(held) else ImageScores()


def _shape(num_classes: int, bins: int) -> tuple[int, int]:
    """Return how sums are laid out: of the frame, of each class, of each bin.

    The first row is summed IoU, the second how many frames it is of.
    """
    return 2, 1 + num_classes + bins


def _frames(
    overlaps: NDArray[np.int64],
    present: NDArray[np.bool_],
    stamps_ns: Sequence[int],
    bins: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Yield what each frame with labels adds, as `BlockSums.add_cells` takes it."""
    is_labelled = present.any(axis=1)
    overlaps, present = overlaps[is_labelled], present[is_labelled]
    means = frame_mious(overlaps, present)
    # As in `frame_mious`, zero for classes that the ground truth has nothing of.
    iou = overlaps[:, 0] / np.maximum(overlaps[:, 1], 1)
    sums = np.rint(np.column_stack((means, iou)) * _UNIT)
    one = np.ones(len(means))
    counts = np.column_stack((sums, one, present, sums[:, 0], one)).astype(np.int64)
    width = _shape(present.shape[1], bins)[1]
    heads = np.arange(1 + present.shape[1])
    in_bin = width - bins + np.minimum((means * bins).astype(np.int64), bins - 1)
    cells = np.empty(counts.shape, np.int64)
    cells[:, :-2] = np.concatenate((heads, heads + width))
    cells[:, -2], cells[:, -1] = in_bin, in_bin + width
    yield from zip(cells, counts, np.asarray(stamps_ns)[is_labelled].tolist(), strict=True)


def _scores(total: NDArray[np.int64], blocks: TimeBlocks, num_classes: int) -> ImageScores:
    """Return the means of all sums, and their intervals by those of blocks, of fewer bins."""
    statistics = _Means(num_classes)
    values = statistics.values(total.astype(np.float64)).tolist()
    blocks = replace(blocks, counts=_of_low_bins(blocks.counts, num_classes))
    found = find_bounds(blocks, statistics, Resampling(), (0.0, 1.0))
    image, by_class, worst = (
        Estimate(value, lower, upper, found.reason)
        for value, (lower, upper) in zip(values, found.fixed.tolist(), strict=True)
    )
    frames = int(total[1, 0])
    if frames < _FEWEST_FOR_WORST and found.reason is None:
        reason = f"an interval needs {_FEWEST_FOR_WORST} frames with labels, but there are {frames}"
        worst = Estimate(worst.value, reason=reason)
    return ImageScores(image, by_class, worst)


def _of_low_bins(counts: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Return (k, 2, 1 + n + bins) sums of blocks without the bins that hold none of the worst.

    That is so however the blocks are drawn: what is left has the worst of each block.
    """
    frames = counts[:, 1, 1 + num_classes :]
    is_enough = np.cumsum(frames, axis=1) >= WORST_SHARE * counts[:, 1, :1]
    highest = int(is_enough.argmax(axis=1).max(initial=0))
    bins = np.flatnonzero(frames[:, : highest + 1].any(axis=0))
    kept = np.concatenate((np.arange(1 + num_classes), 1 + num_classes + bins))
    low: NDArray[np.int64] = np.take(counts, kept, axis=-1)
    return low


class _Means:
    """The three means of (2, 1 + n + bins) sums, whose high bins may be missing.

    Implements `Statistics`.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes

    def values(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (..., 3) means of (..., 2, 1 + n + bins) sums."""
        image, of_class = self._means(counts)
        with_frames = ~np.isnan(of_class)
        by_class = divide(np.nansum(of_class, axis=-1), with_frames.sum(axis=-1))
        worst, _ = self._worst(counts)
        return np.stack((image, by_class, worst), axis=-1)

    def terms(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (k, 3) first-order terms of (k, 2, 1 + n + bins) sums."""
        total = counts.sum(axis=0)
        image, of_class = self._means(total)
        own = np.nan_to_num(np.concatenate(([image], of_class)))
        heads = counts[..., : 1 + self._num_classes]
        residual = heads[:, 0] / _UNIT - own * heads[:, 1]
        by_head = np.nan_to_num(divide(residual, total[1, : 1 + self._num_classes]))
        by_class = by_head[:, 1:].sum(axis=1) / max(np.count_nonzero(~np.isnan(of_class)), 1)
        return np.stack((by_head[:, 0], by_class, self._worst_terms(counts)), axis=1)

    def occurs(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (k, 3): each is defined in every block with frames."""
        return np.ones((len(counts), 3), np.bool_)

    def _means(
        self, counts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean over frames, (...), and of each class, (..., n)."""
        heads = counts[..., : 1 + self._num_classes]
        means = divide(heads[..., 0, :] / _UNIT, heads[..., 1, :])
        return means[..., 0], means[..., 1:]

    def _worst(
        self, counts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean of the worst frames and the greatest mean IoU among them, (...)."""
        sums, frames = np.moveaxis(counts[..., 1 + self._num_classes :], -2, 0)
        wanted = np.maximum(np.floor(WORST_SHARE * counts[..., 1, 0]), 1.0)
        earlier = np.cumsum(frames, axis=-1) - frames
        taken = np.clip(wanted[..., np.newaxis] - earlier, 0.0, frames)
        means = np.nan_to_num(divide(sums / _UNIT, frames))
        greatest = np.where(taken > 0, means, 0.0).max(axis=-1)
        return (taken * means).sum(axis=-1) / wanted, greatest

    def _worst_terms(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (k,) terms of the worst mean (Rockafellar and Uryasev, J. Risk 2000).

        The mean of the lowest share a of values x is ``q + mean(min(x - q, 0)) / a``, q being the
        greatest of them.
        """
        total = counts.sum(axis=0)
        worst, greatest = self._worst(total)
        sums, frames = np.moveaxis(counts[..., 1 + self._num_classes :], -2, 0)
        number = total[1, 0]
        share = max(math.floor(WORST_SHARE * number), 1) / number
        below = np.minimum(sums / _UNIT - greatest * frames, 0.0).sum(axis=-1)
        terms = below / share + (greatest - worst) * counts[:, 1, 0]
        return np.asarray(terms / number, np.float64)
