"""Batches of pairs: decoded, passed on to predict and count, and collected."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.images.decoding import decode_labels
from deeplab_miou.images.depth import decode_depth
from deeplab_miou.metric.frame_scores import FinishedScores, PendingScores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

    from deeplab_miou.evaluation.outcomes import Arrival
    from deeplab_miou.evaluation.pairing import Pair
    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.frame_scores import Scored
    from deeplab_miou.regions.regions import Regions

    Size = tuple[int, int]

# Image and label show the same view if their aspect ratios differ by rounding only.
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Frame:
    """A pair ready to be scored.

    Attributes:
        pair: as it arrived.
        started_s: when work on it began, seconds of the monotonic clock.
        decode_s: how long decoding took.
        image: what the predictor wants.
        ground_truth: train ids, uint8 ``(h, w)``.
        unmapped_pixels: pixels whose label the label map does not know.
        depth: metres, float32 ``(h, w)``; None if there is none, or no region needs it.
        depth_problem: why its depth image cannot be used; empty if it can, or there is none.
    """

    pair: Pair[Arrival]
    started_s: float
    decode_s: float
    image: NDArray[np.uint8]
    ground_truth: NDArray[np.uint8]
    unmapped_pixels: int
    depth: NDArray[np.float32] | None = None
    depth_problem: str = ""


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
    """Decodes pairs and has them scored.

    Args:
        predictor: where predictions come from.
        label_map: what the labels mean.
        regions: what is scored apart, and what is not scored.
        score_at: whose resolution is scored, the ``label``'s or the ``prediction``'s.
        wants_predictions: whether somebody wants to see predictions; asked for each batch.
        decoders: decode what is announced, while others are scored; None to decode it when its turn
            comes.
        legends: what tells ids by name; nothing by default.
    """

    def __init__(
        self,
        predictor: Predictor,
        label_map: LabelMap,
        regions: Regions,
        *,
        score_at: Literal["label", "prediction"],
        wants_predictions: Callable[[], bool],
        decoders: Executor | None = None,
        legends: Legends | None = None,
    ) -> None:
        self._legends = Legends() if legends is None else legends
        self._predictor = predictor
        self._label_map = label_map
        self._regions = regions
        self._score_at = score_at
        self._wants_predictions = wants_predictions
        self._decoders = decoders
        self._ahead: dict[int, Future[Frame]] = {}

    def announce(self, pair: Pair[Arrival]) -> None:
        """Tell of a pair that is going to be decoded for certain."""
        if self._decoders is not None:
            self._ahead[id(pair)] = self._decoders.submit(self._decode, pair)

    def decode(self, pair: Pair[Arrival]) -> Frame:
        """Return a pair's arrays.

        Raises:
            FrameError: a message cannot be used, or the two do not belong together.
        """
        ahead = self._ahead.pop(id(pair), None)
        return self._decode(pair) if ahead is None else ahead.result()

    def _decode(self, pair: Pair[Arrival]) -> Frame:
        started_s = time.monotonic()
        image = self._legends.prepared(self._predictor, pair.image)
        label_map = self._legends.label_map(pair.label, self._label_map)
        labels = decode_labels(pair.label.image, label_map)
        ground_truth = self._regions.without_ignored(
            self._at_scored_size(labels.ids, (image.shape[0], image.shape[1])),
            self._label_map.ignore_index,
        )
        depth, problem = None, ""
        if pair.depth is not None and self._regions.by_depth:
            try:
                depth = _depth_at(pair.depth.image, ground_truth)
            except FrameError as error:
                problem = f"{error.reason.value}: {error}"
        return Frame(
            pair,
            started_s,
            time.monotonic() - started_s,
            image,
            ground_truth,
            labels.unmapped,
            depth,
            problem,
        )

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

    def _at_scored_size(self, ground_truth: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
        label_size = (ground_truth.shape[0], ground_truth.shape[1])
        if size == label_size:
            return ground_truth
        sizes = f"image is {size[1]}x{size[0]}, label {label_size[1]}x{label_size[0]}"
        _check_view(size, label_size, sizes)
        if self._score_at == "prediction":
            return np.asarray(_resize(ground_truth, size), np.uint8)
        if not self._predictor.any_size:
            raise FrameError(
                Reason.SIZE_MISMATCH,
                f"{sizes}: predictions from a topic must have the label's size; "
                "score_at: prediction resizes the label instead",
            )
        return ground_truth


def _depth_at(message: ImageMessage, ground_truth: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a depth image at the ground truth's size, by nearest neighbour: no mean of two things.

    Raises:
        FrameError: it cannot be read, or shows another view.
    """
    depth = decode_depth(message)
    size = (ground_truth.shape[0], ground_truth.shape[1])
    own = (depth.shape[0], depth.shape[1])
    if own == size:
        return depth
    sizes = f"depth image is {own[1]}x{own[0]}, ground truth {size[1]}x{size[0]}"
    _check_view(own, size, sizes)
    return np.asarray(_resize(depth, size), np.float32)


def _check_view(size: Size, other: Size, sizes: str) -> None:
    ratio = (size[0] * other[1]) / (size[1] * other[0])
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        raise FrameError(
            Reason.SIZE_MISMATCH, f"{sizes}: expected the same view, so the same aspect ratio"
        )


def _resize(pixels: NDArray[Any], size: Size) -> NDArray[Any]:
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
