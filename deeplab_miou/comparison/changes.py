"""The frames that two networks differ on most, and the pixels that changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.comparison.ranking import Ranking
from deeplab_miou.metric.scores import frame_miou, frame_mious

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from deeplab_miou.comparison.frames import CommonFrames

_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class ChangedFrame:
    """A frame that B predicts better or worse than A.

    Attributes:
        stamp_ns: of its image.
        a: mIoU of the frame alone over the classes in its ground truth, by A.
        b: by B.
        pixels: by how many more pixels are right with B.
        bag: of many bags, the name of the one that it is of.
        picture: uint8 RGB, both predictions; None if there is none.
    """

    stamp_ns: int
    a: float
    b: float
    pixels: int
    bag: str = ""
    picture: NDArray[np.uint8] | None = None

    @property
    def change(self) -> float:
        """B - A."""
        return self.b - self.a


class MostChanged:
    """Keeps the frames that became most worse, or most better: at most one of each second.

    Which ones does not depend on the order in which they come. Not thread-safe.

    Args:
        most: how many of each to keep.
    """

    def __init__(self, most: int = 5) -> None:
        self._worse: Ranking[ChangedFrame] = Ranking(most)
        self._better: Ranking[ChangedFrame] = Ranking(most)

    @property
    def worse(self) -> list[ChangedFrame]:
        """The frames that became worse, the most first."""
        return self._worse.items

    @property
    def better(self) -> list[ChangedFrame]:
        """The frames that became better, the most first."""
        return self._better.items

    def update(
        self, frame: ChangedFrame, draw: Callable[[], NDArray[np.uint8] | None] = lambda: None
    ) -> None:
        """Take a frame.

        Args:
            frame: without picture.
            draw: makes its picture; called only if the frame is kept.
        """
        # Without a labelled pixel it has no change: NaN.
        if not abs(frame.change) > 0:
            return
        ranking = self._worse if frame.change < 0 else self._better
        key, rank = (
            (frame.bag, frame.stamp_ns // _NS),
            (-abs(frame.change), frame.bag, frame.stamp_ns),
        )
        if ranking.admits(key, rank):
            ranking.put(key, rank, replace(frame, picture=draw()))

    def copy(self) -> MostChanged:
        """Return another one with the same frames."""
        other = MostChanged()
        other._worse, other._better = self._worse.copy(), self._better.copy()
        return other

    def update_all(self, frames: CommonFrames, bag: str = "") -> None:
        """Take the frames of a bag.

        Args:
            frames: of both runs.
            bag: its name, of many.
        """
        a, b = (frame_mious(each.overlaps, each.labelled > 0) for each in (frames.a, frames.b))
        right = [each.counts[:, 0].sum(axis=1) for each in (frames.a, frames.b)]
        stamps = frames.a.stamps_ns
        for index in np.flatnonzero(np.abs(b - a) > 0).tolist():
            pixels = int(right[1][index] - right[0][index])
            self.update(
                ChangedFrame(int(stamps[index]), float(a[index]), float(b[index]), pixels, bag)
            )


def changed_frame(
    stamp_ns: int, a: NDArray[np.int64], b: NDArray[np.int64], bag: str = ""
) -> ChangedFrame:
    """Return how a frame changed.

    Args:
        stamp_ns: of its image.
        a: ``(n, n + 1)`` int64, its counts by A.
        b: by B, on the same ground truth.
        bag: of many bags, the name of the one that it is of.
    """
    pixels = int(b.diagonal().sum()) - int(a.diagonal().sum())
    return ChangedFrame(stamp_ns, frame_miou(a), frame_miou(b), pixels, bag)


@dataclass(frozen=True, eq=False)
class PixelChanges:
    """What became of pixels between the predictions of A and of B; they add up.

    Attributes:
        right: (n,) int64, by class of the ground truth: wrong with A and right with B.
        wrong: (n,) int64, right with A and wrong with B.
        differing: pixels, labelled or not, that the two predict differently.
        pixels: all of them.
    """

    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    differing: int = 0
    pixels: int = 0

    @classmethod
    def zero(cls, num_classes: int) -> PixelChanges:
        """Return the changes of no frame."""
        return cls(np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64))

    @property
    def disagreement(self) -> float:
        """Share of the pixels that the two predict differently; NaN without a pixel."""
        return self.differing / self.pixels if self.pixels else np.nan

    def __add__(self, other: PixelChanges) -> PixelChanges:
        return PixelChanges(
            self.right + other.right,
            self.wrong + other.wrong,
            self.differing + other.differing,
            self.pixels + other.pixels,
        )


def pixel_changes(
    truth: NDArray[np.uint8], a: NDArray[np.uint8], b: NDArray[np.uint8], num_classes: int
) -> PixelChanges:
    """Return what changed in a frame.

    Args:
        truth: ``(h, w)`` uint8 train ids; n and above is not scored.
        a: ``(h, w)`` uint8, predicted by A; n and above is an invalid prediction.
        b: by B.
        num_classes: n.
    """
    differs = disagree(a, b, num_classes)
    scored = differs & (truth < num_classes)
    # Where both are wrong, each in its own way, nothing became right or wrong.
    right, wrong = (
        np.bincount(truth[scored & (each == truth)], minlength=num_classes).astype(np.int64)
        for each in (b, a)
    )
    return PixelChanges(right, wrong, int(differs.sum()), differs.size)


def disagree(a: NDArray[np.uint8], b: NDArray[np.uint8], num_classes: int) -> NDArray[np.bool_]:
    """Return where two predictions differ; all ids that are not classes are the same.

    Args:
        a: predicted ids, uint8 ``(h, w)``.
        b: likewise, of the same shape.
        num_classes: n.
    """
    differs: NDArray[np.bool_] = (a != b) & ((a < num_classes) | (b < num_classes))
    return differs
