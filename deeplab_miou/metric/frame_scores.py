"""The result of scoring a batch: at once, or later if a device works in parallel with the CPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from deeplab_miou.metric.confusion import confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.errors import FrameError


class Scored(NamedTuple):
    """One frame's score.

    Attributes:
        matrix: its counts, int64 ``(n, n + 1)``.
        prediction: predicted train ids, uint8 ``(h, w)``; None if not asked for.
        counting_s: seconds spent on counting; 0 where the device counted while it predicted.
        confidence: of the predicted class, uint8 ``(h, w)``, 255 for a probability of 1; None where
            nobody asked for it, or it is not known.
    """

    matrix: NDArray[np.int64]
    prediction: NDArray[np.uint8] | None
    counting_s: float = 0.0
    confidence: NDArray[np.uint8] | None = None


class PendingScores(Protocol):
    """A batch that is being scored."""

    def done(self) -> bool:
        """Return whether `result` would not wait."""

    def result(self) -> list[Scored]:
        """Wait, and return a score for each frame.

        Raises:
            FrameError: the device could not do it for this batch; a smaller one may work.
        """


class FinishedScores:
    """A batch that was scored at once.

    Args:
        outcome: a score for each frame, or what went wrong.
    """

    def __init__(self, outcome: list[Scored] | FrameError) -> None:
        self._outcome = outcome

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> list[Scored]:
        """Return the scores.

        Raises:
            FrameError: what went wrong.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def score_labels(
    ground_truths: Sequence[NDArray[np.uint8]],
    predictions: Sequence[NDArray[np.uint8]],
    num_classes: int,
    ignore_index: int,
    *,
    keep_predictions: bool,
) -> FinishedScores:
    """Count label maps on the CPU.

    Args:
        ground_truths: train ids ``(h, w)``, one map a frame.
        predictions: predicted ids of the same shapes.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
        keep_predictions: whether the scores hold the predicted label maps too.

    Raises:
        ValueError: ground truth has ids that are neither below n nor the ignore index.
    """
    scored = []
    for ground_truth, prediction in zip(ground_truths, predictions, strict=True):
        started_s = time.monotonic()
        matrix = confusion_matrix(ground_truth, prediction, num_classes, ignore_index)
        counting_s = time.monotonic() - started_s
        scored.append(Scored(matrix, prediction if keep_predictions else None, counting_s))
    return FinishedScores(scored)
