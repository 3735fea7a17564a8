"""The regions of a run: which pixels of a frame's ground truth belong to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.regions.contents import ObjectSize, border, near_void, object_sizes
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


@dataclass(frozen=True)
class VoidBand:
    """Labelled pixels near ignored ones.

    Attributes:
        distance: how near, pixels.
    """

    distance: float


@dataclass(frozen=True)
class DepthBand:
    """Pixels whose measured depth lies in a band.

    Attributes:
        near: metres, included.
        far: metres, not included; may be infinite.
    """

    near: float
    far: float

    def inside(self, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which pixels of a depth image, NaN where none was measured, are in the band."""
        inside: NDArray[np.bool_] = (depth >= self.near) & (depth < self.far)
        return inside


Where = Shape | Border | VoidBand | ObjectSize | DepthBand


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
    """What is scored separately, and what is not scored at all.

    Attributes:
        scored: regions that have a score of their own.
        ignored: parts of the image in which nothing is scored.
        digest: of the file and the masks that it names; empty without any.
    """

    scored: tuple[Region, ...] = ()
    ignored: tuple[Shape, ...] = ()
    digest: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions that are scored."""
        return tuple(region.name for region in self.scored)

    @property
    def by_depth(self) -> tuple[str, ...]:
        """Names of those of them that a depth image defines."""
        return tuple(each.name for each in self.scored if isinstance(each.where, DepthBand))

    def warm_up(self) -> None:
        """Compile, or load from the cache, what counting takes."""
        if any(isinstance(region.where, ObjectSize) for region in self.scored):
            object_sizes(np.zeros((2, 2), np.uint8), 255)

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
        depth: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int64]:
        """Count each region.

        Args:
            ground_truth: train ids, uint8 ``(h, w)``.
            prediction: predicted ids of the same shape.
            num_classes: n.
            ignore_index: the id that is not scored.
            depth: metres, float32 of the same shape, NaN where none was measured; None if there is
                no depth image.

        Returns:
            int64 ``(r, n, n + 1)``, see `confusion_matrix`.
        """
        counts = np.zeros((len(self.scored), num_classes, num_classes + 1), np.int64)
        truths = self.ground_truths(ground_truth, ignore_index, depth)
        for matrix, truth in zip(counts, truths, strict=True):
            confusion_matrix(truth, prediction, num_classes, ignore_index, out=matrix)
        return counts

    def count_depth(
        self,
        ground_truth: NDArray[np.uint8],
        ignore_index: int,
        depth: NDArray[np.float32] | None,
        *,
        is_unusable: bool,
    ) -> NDArray[np.int64]:
        """Count what the depth regions of a frame do not contain, as `Counts.depth`.

        Args:
            ground_truth: train ids, uint8 ``(h, w)``.
            ignore_index: the id that is not scored.
            depth: as of `count`.
            is_unusable: whether there is a depth image that cannot be used.
        """
        counts = dict.fromkeys(DEPTH, 0)
        labelled = ground_truth != ignore_index
        if depth is None:
            counts["frames_with_unusable_depth" if is_unusable else "frames_without_depth"] = 1
            counts["pixels_without_depth"] = int(np.count_nonzero(labelled))
        else:
            outside = labelled & ~np.isnan(depth)
            counts["pixels_missing_depth"] = int(np.count_nonzero(labelled & np.isnan(depth)))
            for region in self.scored:
                if isinstance(region.where, DepthBand):
                    outside &= ~region.where.inside(depth)
            counts["pixels_outside_depth"] = int(np.count_nonzero(outside))
        return np.array(list(counts.values()), np.int64)

    def ground_truths(
        self,
        ground_truth: NDArray[np.uint8],
        ignore_index: int,
        depth: NDArray[np.float32] | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield for each region the ground truth in which all else is ignored.

        Args:
            ground_truth: train ids, uint8 ``(h, w)``.
            ignore_index: the id that is not scored.
            depth: as of `count`; without one nothing is in a depth region.

        Raises:
            FrameError: size_mismatch; a mask has another size.
        """
        found: dict[float | type[ObjectSize], dict[Where, NDArray[np.bool_]]] = {}
        for region in self.scored:
            where = region.where
            if isinstance(where, Shape):
                inside = where.inside(*ground_truth.shape)
            elif isinstance(where, DepthBand):
                if depth is None:
                    yield np.full_like(ground_truth, ignore_index)
                    continue
                inside = where.inside(depth)
            elif isinstance(where, VoidBand):
                inside = near_void(ground_truth, ignore_index, where.distance)
            else:
                kind = where.distance if isinstance(where, Border) else ObjectSize
                if kind not in found:
                    found[kind] = _find(where, ground_truth, ignore_index)
                inside = found[kind][where]
            yield np.where(inside, ground_truth, np.uint8(ignore_index))


def check_depth(regions: Regions, depth_topic: str) -> None:
    """Complain about depth regions without depth images, or the reverse.

    Raises:
        ConfigurationError: only one of the two is there.
    """
    if regions.by_depth and not depth_topic:
        names = ", ".join(map(repr, regions.by_depth))
        raise ConfigurationError(
            f"regions {names} are by depth, but there is no topic of depth images: set "
            "depth_topic (--depth-topic)"
        )
    if depth_topic and not regions.by_depth:
        raise ConfigurationError(
            f"depth_topic is {depth_topic!r}, but no region is by depth: declare one in the file "
            "that regions (--regions) names, such as {name: near, depth: [0, 10]}"
        )


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
