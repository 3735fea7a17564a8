"""What was counted: the one value that goes from a frame to the report, live and offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels of a frame, of a run or of many; they add up.

    Attributes:
        matrix: confusion matrix, int64 ``(n, n + 1)``: rows are ground truth, the last column
            holds invalid predictions. Axes may lead, as that of regions in ``(r, n, n + 1)``.
        frames: frames in it.
        ignored: pixels whose ground truth is not scored.
        unmapped: those of them that the label map does not know.
    """

    matrix: NDArray[np.int64]
    frames: int = 0
    ignored: int = 0
    unmapped: int = 0

    @classmethod
    def zero(cls, num_classes: int, *leading: int) -> Counts:
        """Return the counts of no frame; `leading` are the lengths of leading axes."""
        return cls(np.zeros((*leading, num_classes, num_classes + 1), np.int64))

    @property
    def pixels(self) -> int:
        """Pixels in the matrix."""
        return int(self.matrix.sum())

    def __add__(self, other: Counts) -> Counts:
        self._check(other)
        return Counts(
            self.matrix + other.matrix,
            self.frames + other.frames,
            self.ignored + other.ignored,
            self.unmapped + other.unmapped,
        )

    def __sub__(self, other: Counts) -> Counts:
        self._check(other)
        return Counts(
            self.matrix - other.matrix,
            self.frames - other.frames,
            self.ignored - other.ignored,
            self.unmapped - other.unmapped,
        )

    def shrank_since(self, older: Counts) -> bool:
        """Tell whether a count is smaller than in an older value."""
        self._check(older)
        return (
            self.frames < older.frames
            or self.ignored < older.ignored
            or self.unmapped < older.unmapped
            or bool((self.matrix < older.matrix).any())
        )

    def _check(self, other: Counts) -> None:
        # NumPy would broadcast a matrix without regions over one that has them.
        if self.matrix.shape != other.matrix.shape:
            raise ValueError(
                f"counts of shape {self.matrix.shape} and {other.matrix.shape} cannot be combined"
            )
