"""By how much a region of the frames, or some of the frames, differ from the rest of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.blocks import TimeBlocks
from deeplab_miou.metric.bootstrap import DifferenceStatistics, IouStatistics
from deeplab_miou.metric.resampling import Resampling, find_bounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# What reports call all pixels next to regions, none of which may have this name.
WHOLE_IMAGE = "whole image"
_LIMITS = (-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Contrast:
    """A part of the pixels against all other labelled ones; index 0 is mIoU, 1 + c class c.

    The mean is over the classes that have labelled pixels in both. Where a class has none, it is
    wrong wherever it is predicted, which does not show how well it is found.

    Attributes:
        inside: (1 + n,) float64 scores within the part.
        outside: (1 + n,) float64 scores of the rest.
        bounds: (1 + n, 2) float64 lower and upper bound of inside - outside, 95 %; NaN where there
            are none, as for classes that have labelled pixels on one side only.
    """

    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    bounds: NDArray[np.float64]

    @property
    def differs(self) -> NDArray[np.bool_]:
        """(1 + n,) bool: where the bounds exclude zero."""
        return (self.bounds[:, 0] > 0) | (self.bounds[:, 1] < 0)


def labelled_in_both(whole: NDArray[np.int64], part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which classes have labelled pixels in a part and in the rest, (n,) bool.

    Args:
        whole: (n, n + 1) int64 confusion matrix.
        part: likewise, of the part.
    """
    inside = part.sum(axis=1)
    both: NDArray[np.bool_] = (inside > 0) & (inside < whole.sum(axis=1))
    return both


def contrasts(blocks: TimeBlocks, classes: Mapping[str, NDArray[np.bool_]]) -> dict[str, Contrast]:
    """Compare each region with the rest of the same frames; resampling takes a while.

    Args:
        blocks: with (k, 1 + r, 2, n) counts, see `contrast`.
        classes: which classes to compare, by the names of the r regions, see `contrast`.
    """
    return {name: contrast(blocks, region, classes[name]) for region, name in enumerate(classes)}


def contrast(blocks: TimeBlocks, region: int, classes: NDArray[np.bool_]) -> Contrast:
    """Compare a region with the rest of the same frames by a paired block bootstrap.

    Blocks of time with labelled pixels on one side only do not show the difference.

    Args:
        blocks: with (k, 1 + r, 2, n) counts of intersection and union, those of the whole frames
            first.
        region: which, from 0.
        classes: (n,) which classes to compare, see `labelled_in_both`.
    """
    inside = blocks.counts[:, 1 + region]
    pairs = np.stack((blocks.counts[:, 0] - inside, inside), axis=1)
    speaking = np.any(pairs[:, :, 1], axis=2).all(axis=1)
    chosen = TimeBlocks(
        blocks.block_ns, blocks.keys[speaking], pairs[speaking], are_drives=blocks.are_drives
    )
    return _contrast(pairs, chosen, DifferenceStatistics, classes)


def frames_contrast(whole: TimeBlocks, chosen: TimeBlocks, classes: NDArray[np.bool_]) -> Contrast:
    """Compare some of the frames with all others by a block bootstrap.

    Hardly a block has frames of both, so that blocks of either are resampled together. Each score
    has bounds where at least 8 blocks on either side say something of it.

    Args:
        whole: blocks with (k, 2, n) counts of all frames.
        chosen: of some of them, with blocks of the same length times a power of two.
        classes: (n,) which classes to compare, see `labelled_in_both`.
    """
    block_ns = max(whole.block_ns, chosen.block_ns)
    whole, chosen = whole.of_length(block_ns), chosen.of_length(block_ns)
    inside = np.zeros_like(whole.counts)
    inside[np.searchsorted(whole.keys, chosen.keys)] = chosen.counts
    pairs = np.stack((whole.counts - inside, inside), axis=1)
    speaking = np.any(pairs[:, :, 1], axis=(1, 2))
    blocks = TimeBlocks(
        block_ns, whole.keys[speaking], pairs[speaking], are_drives=whole.are_drives
    )
    return _contrast(pairs, blocks, _ApartStatistics, classes)


class _ApartStatistics(DifferenceStatistics):
    """Differences of blocks most of which have pixels on one side only."""

    def occurs(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (k, 1 + n): where the rarer of the two sides has pixels."""
        seen = counts[:, :, 1] > 0
        sides = np.concatenate((seen.any(axis=2, keepdims=True), seen), axis=2)
        fewer: NDArray[np.intp] = sides.sum(axis=0).argmin(axis=0)
        return np.where(fewer == 0, sides[:, 0], sides[:, 1])


def _contrast(
    pairs: NDArray[np.int64],
    blocks: TimeBlocks,
    statistics: type[DifferenceStatistics],
    classes: NDArray[np.bool_],
) -> Contrast:
    """Return the difference of (k, 2, 2, n) counts outside and inside, bounded by some of them."""
    total = pairs.sum(axis=0).astype(np.float64)
    each = IouStatistics(classes.astype(np.float64), "exclude")
    bounds = find_bounds(blocks, statistics(each), Resampling(), _LIMITS).fixed
    bounds[1:][~classes] = np.nan
    return Contrast(each.values(total[1]), each.values(total[0]), bounds)
