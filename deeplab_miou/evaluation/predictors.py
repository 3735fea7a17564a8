"""Where predictions come from: the network, or label images that another node publishes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deeplab_miou.images.decoding import decode_color, decode_ids, decode_labels
from deeplab_miou.metric.frame_scores import score_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.frame_scores import PendingScores
    from deeplab_miou.model.segmenter import Segmenter

_INVALID = 255


class ScoreBatch(Protocol):
    """Starts to predict images at the sizes of their ground truth and to count the result."""

    def __call__(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        *,
        keep_predictions: bool,
        keep_confidences: bool = False,
    ) -> PendingScores:
        """Start to score a batch.

        Args:
            images: from `Predictor.prepare`.
            ground_truths: train ids ``(h, w)`` uint8, one map an image.
            keep_predictions: whether the scores hold the predicted label maps too.
            keep_confidences: whether they hold how sure the network is of them, where it says that
                (`Predictor.has_confidence`); only with the predictions.

        Raises:
            FrameError: the device could not do it for this batch; a smaller one may work.
        """


@dataclass(frozen=True)
class Predictor:
    """A source of predictions for the ground truth of one label map.

    Attributes:
        prepare: returns the array that `score` wants for one image message, or raises FrameError if
            the message cannot be used.
        score: starts to score a batch.
        any_size: it predicts at any size of ground truth; otherwise only at the size of its input.
        needs_worker: scoring takes so long that messages pile up meanwhile, so it belongs in a
            thread of its own; otherwise handing a frame over would cost more than scoring it.
        has_confidence: it can tell how sure it is of each pixel.
    """

    prepare: Callable[[ImageMessage], NDArray[np.uint8]]
    score: ScoreBatch
    any_size: bool
    needs_worker: bool
    has_confidence: bool = False


def network_predictor(segmenter: Segmenter, label_map: LabelMap) -> Predictor:
    """Return the predictions of a network; its logits are resized to the ground truth, then argmax.

    Args:
        segmenter: runs the network.
        label_map: of the ground truth.
    """
    score = functools.partial(segmenter.score, ignore_index=label_map.ignore_index)
    return Predictor(
        # A copy is made by whoever decodes, while the network is at work on others.
        prepare=lambda message: segmenter.as_input(decode_color(message)),
        score=score,
        any_size=True,
        needs_worker=True,
        has_confidence=segmenter.has_confidence,
    )


def topic_predictor(label_map: LabelMap, prediction_map: LabelMap | None = None) -> Predictor:
    """Return predictions that arrive as label images; unknown ids are invalid predictions.

    Args:
        label_map: of the ground truth. Indexed PNGs whose colours are those of its classes may not
            hold train ids, and are refused.
        prediction_map: how to read the prediction images, when they hold raw ids or colours of a
            label map instead of train ids. Its classes must be those of the labels.
    """

    def score(
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        *,
        keep_predictions: bool,
        keep_confidences: bool = False,  # noqa: ARG001 - ids come without
    ) -> PendingScores:
        return score_labels(
            ground_truths,
            images,
            label_map.num_classes,
            label_map.ignore_index,
            keep_predictions=keep_predictions,
        )

    prepare = (
        functools.partial(_read_train_ids, train_ids=label_map.of_train_ids())
        if prediction_map is None
        else functools.partial(read_mapped, prediction_map=prediction_map)
    )
    return Predictor(prepare=prepare, score=score, any_size=False, needs_worker=False)


def _read_train_ids(message: ImageMessage, train_ids: LabelMap) -> NDArray[np.uint8]:
    """Return the predicted ids, (H, W) uint8; what does not fit into 8 bits is 255."""
    raw = decode_ids(message, train_ids)
    if raw.dtype == np.uint8:
        return raw.view(np.uint8)
    outside = (raw < 0) | (raw > _INVALID)
    return np.where(outside, _INVALID, raw).astype(np.uint8)


def read_mapped(message: ImageMessage, prediction_map: LabelMap) -> NDArray[np.uint8]:
    """Return the predicted ids, (H, W) uint8; what is not a class is 255."""
    ids = decode_labels(message, prediction_map).ids
    if prediction_map.ignore_index == _INVALID:
        return ids
    return np.where(ids == prediction_map.ignore_index, np.uint8(_INVALID), ids)
