"""Batches of pairs: passed on to be predicted and scored, and collected."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplab_miou.errors import FrameError
from deeplab_miou.metric.frame_scores import FinishedScores, PendingScores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deeplab_miou.evaluation.frames import Frame
    from deeplab_miou.evaluation.outcomes import Arrival
    from deeplab_miou.evaluation.pairing import Pair
    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.metric.frame_scores import Scored


@dataclass(slots=True)
class Batch:
    """Pairs being processed.

    Attributes:
        pending: pairs that are not accounted for yet.
        frames: those of them that could be decoded, by the same keys.
        scores: of the frames, in their order.
        started_s: when scoring began, seconds of the monotonic clock.
    """

    pending: dict[int, Pair[Arrival]]
    frames: dict[int, Frame] = field(default_factory=dict)
    scores: PendingScores = field(default_factory=lambda: FinishedScores([]))
    started_s: float = 0.0


class BatchScorer:
    """Has batches scored.

    Args:
        predictor: where predictions come from.
        wants_predictions: whether somebody wants to see predictions; asked for each batch.
        wants_confidences: whether somebody wants to see how sure they are; likewise.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        wants_predictions: Callable[[], bool],
        wants_confidences: Callable[[], bool],
    ) -> None:
        self._predictor = predictor
        self._wants_predictions = wants_predictions
        self._wants_confidences = wants_confidences

    def start(self, batch: Batch) -> None:
        """Start scoring the frames of a batch; `collect` waits for it and reports failures."""
        batch.started_s = time.monotonic()
        if not batch.frames:
            return
        images, ground_truths = zip(
            *((each.image, each.ground_truth) for each in batch.frames.values()), strict=True
        )
        try:
            batch.scores = self._predictor.score(
                images,
                ground_truths,
                keep_predictions=self._wants_predictions(),
                keep_confidences=self._wants_confidences(),
            )
        except FrameError as error:
            batch.scores = FinishedScores(error)

    def collect(self, batch: Batch) -> Iterator[tuple[int, Scored | FrameError, float]]:
        """Yield each frame's key, score or failure, and share of the seconds it took.

        Where the device could not take the batch, it is tried with one frame at a time, so that one
        bad frame or a lack of memory costs no other frame.
        """
        try:
            scored = batch.scores.result()
        except FrameError as error:
            if len(batch.frames) == 1:
                yield next(iter(batch.frames)), error, 0.0
                return
            for key, frame in batch.frames.items():
                alone = Batch({key: frame.pair}, {key: frame})
                self.start(alone)
                yield from self.collect(alone)
            return
        counting_s = sum(score.counting_s for score in scored)
        took_s = time.monotonic() - batch.started_s - counting_s
        for key, score in zip(batch.frames, scored, strict=True):
            yield key, score, took_s / len(scored)
