"""The regions of a run: which pixels of a frame's ground truth belong to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.regions.contents import ObjectSize, border, object_sizes
from deeplab_miou.regions.shapes import Shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Border:
    """Labelled pixels near another class, or those that are not.

    Attributes:
        distance: how near, pixels.
        interior: whether the others are meant.
    """

    distance: float
    interior: bool


Where = Shape | Border | ObjectSize


@dataclass(frozen=True)
class Region:
    """One region.

    Attributes:
        name: what it is called.
        where: which pixels are in it.
    """

    name: str
    where: Where


@dataclass(frozen=True)
class Regions:
    """What is scored apart, and what is not scored at all.

    Attributes:
        scored: regions that have a score of their own.
        ignored: parts of the image that nothing is scored in.
        digest: of the file and the masks that it names; empty without any.
    """

    scored: tuple[Region, ...] = ()
    ignored: tuple[Shape, ...] = ()
    digest: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions that are scored."""
        return tuple(region.name for region in self.scored)

    def without_ignored(
        self, ground_truth: NDArray[np.uint8], ignore_index: int
    ) -> NDArray[np.uint8]:
        """Return the ground truth ``(h, w)`` in which nothing is labelled that shall be ignored.

        Raises:
            FrameError: size_mismatch; a mask has another size, be it of a region that is scored.
        """
        for region in self.scored:
            if isinstance(region.where, Shape):
                region.where.inside(*ground_truth.shape)
        for shape in self.ignored:
            inside = shape.inside(*ground_truth.shape)
            ground_truth = np.where(inside, np.uint8(ignore_index), ground_truth)
        return ground_truth

    def count(
        self,
        ground_truth: NDArray[np.uint8],
        prediction: NDArray[np.uint8],
        num_classes: int,
        ignore_index: int,
    ) -> NDArray[np.int64]:
        """Count each region.

        Args:
            ground_truth: train ids, uint8 ``(h, w)``.
            prediction: predicted ids of the same shape.
            num_classes: n.
            ignore_index: the id that is not scored.

        Returns:
            int64 ``(r, n, n + 1)``, see `confusion_matrix`.
        """
        counts = np.zeros((len(self.scored), num_classes, num_classes + 1), np.int64)
        truths = self.ground_truths(ground_truth, ignore_index)
        for matrix, truth in zip(counts, truths, strict=True):
            confusion_matrix(truth, prediction, num_classes, ignore_index, out=matrix)
        return counts

    def ground_truths(
        self, ground_truth: NDArray[np.uint8], ignore_index: int
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield for each region the ground truth in which all else is ignored.

        Args:
            ground_truth: train ids, uint8 ``(h, w)``.
            ignore_index: the id that is not scored.

        Raises:
            FrameError: size_mismatch; a mask has another size.
        """
        found: dict[float | type[ObjectSize], dict[Where, NDArray[np.bool_]]] = {}
        for region in self.scored:
            where = region.where
            if isinstance(where, Shape):
                inside = where.inside(*ground_truth.shape)
            else:
                kind = where.distance if isinstance(where, Border) else ObjectSize
                if kind not in found:
                    found[kind] = _find(where, ground_truth, ignore_index)
                inside = found[kind][where]
            yield np.where(inside, ground_truth, np.uint8(ignore_index))


def _find(
    where: Border | ObjectSize, ground_truth: NDArray[np.uint8], ignore_index: int
) -> dict[Where, NDArray[np.bool_]]:
    """Find all parts of one kind at once."""
    if isinstance(where, ObjectSize):
        return dict(object_sizes(ground_truth, ignore_index).items())
    near = border(ground_truth, ignore_index, where.distance)
    return {
        Border(where.distance, interior=False): near,
        Border(where.distance, interior=True): ~near,
    }
