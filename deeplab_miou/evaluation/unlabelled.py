"""Predicts images that have no label, when there is nothing to score."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.evaluation.predictors import Predictor

_MOST_WAITING = 8


class Unlabelled:
    """Images whose outcome is known, unmatched, and that are worth a look nevertheless.

    Nothing is counted here: each image has been counted as unmatched. Any thread offers images, the
    one that scores predicts them.

    Args:
        predictor: where predictions come from.
        ignore_index: id of ground truth that counts nowhere.
        wants_confidences: whether somebody wants to see how sure predictions are.
        on_prediction: called with an outcome and its prediction at the image's size.
        on_failure: called with the reason why an image could not be predicted.
    """

    def __init__(
        self,
        predictor: Predictor,
        ignore_index: int,
        *,
        wants_confidences: Callable[[], bool] = lambda: False,
        on_prediction: Callable[[FrameOutcome], None],
        on_failure: Callable[[FrameError], None],
    ) -> None:
        self._predictor = predictor
        self._ignore_index = ignore_index
        self._wants_confidences = wants_confidences
        self._on_prediction = on_prediction
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._waiting: deque[FrameOutcome] = deque(maxlen=_MOST_WAITING)

    def __len__(self) -> int:
        """Return how many images wait."""
        with self._lock:
            return len(self._waiting)

    def offer(self, outcome: FrameOutcome) -> None:
        """Have an image predicted; where there are too many, the oldest one is not."""
        with self._lock:
            self._waiting.append(outcome)

    def work(self) -> None:
        """Predict the oldest image that waits, if there is one."""
        with self._lock:
            outcome = self._waiting.popleft() if self._waiting else None
        if outcome is None or outcome.image is None:
            return
        try:
            image = self._predictor.prepare(outcome.image.image)
            # Ground truth of which nothing counts: the prediction comes at its size.
            nothing = np.full(image.shape[:2], self._ignore_index, np.uint8)
            (scored,) = self._predictor.score(
                [image],
                [nothing],
                keep_predictions=True,
                keep_confidences=self._wants_confidences(),
            ).result()
        except FrameError as error:
            self._on_failure(error)
            return
        self._on_prediction(
            replace(outcome, prediction=scored.prediction, confidence=scored.confidence)
        )
