"""What was counted: the one value that goes from a frame to the report, live and offline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NO_REGIONS: NDArray[np.int64] = np.zeros((0, 0, 0), np.int64)
_NO_REGIONS.setflags(write=False)
# For each class false positives and false negatives of each type (`error_types.TYPES`), then the
# intersection and the union of the boundaries.
MISTAKES = (
    *("fp_boundary", "fp_extent", "fp_segment"),
    *("fn_boundary", "fn_extent", "fn_segment"),
    *("boundary_intersection", "boundary_union"),
)
_NO_MISTAKES: NDArray[np.int64] = np.zeros((0, len(MISTAKES)), np.int64)
_NO_MISTAKES.setflags(write=False)
# What depth regions do not contain: frames without a depth image, frames whose depth image cannot
# be used, labelled pixels of these frames; of the other frames labelled pixels without a
# measurement, and those with one that is in no depth region.
DEPTH = (
    *("frames_without_depth", "frames_with_unusable_depth", "pixels_without_depth"),
    *("pixels_missing_depth", "pixels_outside_depth"),
)
_NO_DEPTH: NDArray[np.int64] = np.zeros(0, np.int64)
_NO_DEPTH.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels of a frame, of a run or of many; they add up.

    Attributes:
        matrix: confusion matrix, int64 ``(n, n + 1)``: rows are ground truth, the last column
            holds invalid predictions.
        frames: frames in it.
        ignored: pixels whose ground truth is not scored.
        unmapped: ignored pixels whose value the label map does not know.
        regions: confusion matrices of r regions, int64 ``(r, n, n + 1)``: of the same frames, in
            which ground truth outside the region is ignored. Their names are in `Axes`.
            Without any, ``(0, 0, 0)``.
        mistakes: int64 ``(n, 8)``, columns as in `MISTAKES`; ``(0, 8)`` where they are not counted,
            which adds up with any.
        depth: int64 ``(5,)``, in the order of `DEPTH`; ``(0,)`` without depth regions, which adds
            up with any.
    """

    matrix: NDArray[np.int64]
    frames: int = 0
    ignored: int = 0
    unmapped: int = 0
    regions: NDArray[np.int64] = field(default_factory=lambda: _NO_REGIONS)
    mistakes: NDArray[np.int64] = field(default_factory=lambda: _NO_MISTAKES)
    depth: NDArray[np.int64] = field(default_factory=lambda: _NO_DEPTH)

    @classmethod
    def zero(cls, num_classes: int, regions: int = 0) -> Counts:
        """Return the counts of no frame."""
        return cls.of_stack(np.zeros((1 + regions, num_classes, num_classes + 1), np.int64))

    @classmethod
    def of_stack(
        cls,
        stack: NDArray[np.int64],
        frames: int = 0,
        ignored: int = 0,
        unmapped: int = 0,
        mistakes: NDArray[np.int64] = _NO_MISTAKES,
        *,
        depth: NDArray[np.int64] = _NO_DEPTH,
    ) -> Counts:
        """Return counts whose matrices come as `stack` gives them."""
        regions = stack[1:] if len(stack) > 1 else _NO_REGIONS
        return cls(stack[0], frames, ignored, unmapped, regions, mistakes, depth)

    @property
    def stack(self) -> NDArray[np.int64]:
        """All matrices, ``(1 + r, n, n + 1)``: of the whole frames, then of each region."""
        whole = self.matrix[np.newaxis]
        return np.concatenate((whole, self.regions)) if len(self.regions) else whole

    @property
    def pixels(self) -> int:
        """Pixels in the matrix."""
        return int(self.matrix.sum())

    def region(self, index: int) -> Counts:
        """Return the counts of one region; pixels outside are ignored there."""
        matrix = self.regions[index]
        outside = self.pixels - int(matrix.sum())
        return Counts(matrix, self.frames, self.ignored + outside, self.unmapped)

    def __add__(self, other: Counts) -> Counts:
        self._check(other)
        return Counts(
            self.matrix + other.matrix,
            self.frames + other.frames,
            self.ignored + other.ignored,
            self.unmapped + other.unmapped,
            self.regions + other.regions if len(self.regions) else self.regions,
            _sum(self.mistakes, other.mistakes),
            _sum(self.depth, other.depth),
        )

    def __sub__(self, other: Counts) -> Counts:
        self._check(other)
        return Counts(
            self.matrix - other.matrix,
            self.frames - other.frames,
            self.ignored - other.ignored,
            self.unmapped - other.unmapped,
            self.regions - other.regions,
            _difference(self.mistakes, other.mistakes),
            _difference(self.depth, other.depth),
        )

    def shrank_since(self, older: Counts) -> bool:
        """Return whether a count is smaller than in an older value."""
        self._check(older)
        return (
            self.frames < older.frames
            or self.ignored < older.ignored
            or self.unmapped < older.unmapped
            or bool((self.matrix < older.matrix).any())
            or bool((self.regions < older.regions).any())
            or _shrank(self.mistakes, older.mistakes)
            or _shrank(self.depth, older.depth)
        )

    def _check(self, other: Counts) -> None:
        # NumPy would broadcast one region over several.
        if self.matrix.shape == other.matrix.shape and self.regions.shape == other.regions.shape:
            return
        shapes, others = ((each.matrix.shape, each.regions.shape) for each in (self, other))
        raise ValueError(f"counts of shapes {shapes} and {others} cannot be combined")


def _sum(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add what not all count."""
    if not len(other):
        return one
    return one + other if len(one) else other


def _difference(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    return one - other if len(one) == len(other) else one


def _shrank(now: NDArray[np.int64], before: NDArray[np.int64]) -> bool:
    return len(now) < len(before) or (len(before) > 0 and bool((now < before).any()))


class Axes(NamedTuple):
    """What counts are of.

    Attributes:
        classes: names of the classes in id order.
        regions: names of the regions in the order of their matrices.
    """

    classes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def zero(self) -> Counts:
        """Return the counts of no frame."""
        return Counts.zero(len(self.classes), len(self.regions))


def as_stacks(matrix: NDArray[np.int64], shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return the counts of one frame or of k frames as ``(k, 1 + r, n, n + 1)``.

    Args:
        matrix: int64 ``(n, n + 1)`` or ``(k, n, n + 1)``; with regions ``(1 + r, n, n + 1)`` or
            ``(k, 1 + r, n, n + 1)``, each as `Counts.stack`.
        shape: ``(1 + r, n, n + 1)``.

    Raises:
        ValueError: it has another shape or type.
    """
    has_regions = shape[0] > 1
    fits = matrix.shape[-3:] == shape or (not has_regions and matrix.shape[-2:] == shape[1:])
    if not fits or matrix.ndim > len(shape) + 1 or matrix.dtype != np.int64:
        raise ValueError(
            f"matrix must be int64 of shape {shape if has_regions else shape[1:]}, or several of "
            f"these, but got {matrix.dtype} of shape {matrix.shape}"
        )
    return matrix.reshape(-1, *shape)
