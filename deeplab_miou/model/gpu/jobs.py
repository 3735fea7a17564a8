"""Frames that a GPU runs together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.model.inference.normalise import Stored

    Size = tuple[int, int]
    Ids = NDArray[np.uint8]

# Pixels of input that keep a GPU busy: more frames at a time would gain nothing.
_PLENTY = 1 << 21


@dataclass(frozen=True)
class Job:
    """Frames of one size, to be run together.

    Attributes:
        images: as they lie in memory.
        ground_truths: of one size; None where only labels are wanted.
        size: (height, width) of the labels.
        ignore_index: ground truth id that counts nowhere.
        keep_predictions: whether labels are wanted.
        keep_confidences: whether their confidences are wanted too.
    """

    images: Sequence[Stored]
    ground_truths: Sequence[Ids] | None
    size: Size
    ignore_index: int
    keep_predictions: bool
    keep_confidences: bool

    @property
    def image_size(self) -> Size:
        """(height, width) of the images."""
        height, width, _ = self.images[0].pixels.shape
        return height, width

    def part(self, start: int, stop: int) -> Job:
        """Return the same of fewer frames."""
        truths = self.ground_truths
        return replace(
            self,
            images=self.images[start:stop],
            ground_truths=None if truths is None else truths[start:stop],
        )


def split_batch(batch: Job, sizes: Sequence[Size]) -> Iterator[Job]:
    """Split a batch into what is run together: neighbours of one kind, by powers of two.

    This keeps the number of shapes small, each of which needs its own capture.

    Args:
        batch: images of any sizes.
        sizes: (height, width) of the labels, one an image.
    """
    kinds = [
        (each.pixels.shape, each.is_bgr, size)
        for each, size in zip(batch.images, sizes, strict=True)
    ]
    start = 0
    for (shape, _, size), group in itertools.groupby(kinds):
        stop = start + len(list(group))
        most = max(_PLENTY // (shape[0] * shape[1]), 1)
        while start < stop:
            count = 1 << (min(stop - start, most).bit_length() - 1)
            yield replace(batch.part(start, start + count), size=size)
            start += count
