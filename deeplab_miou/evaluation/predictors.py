"""Where predictions come from: the network, or label images that another node publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from deeplab_miou.images.decoding import decode_color, decode_ids, decode_labels
from deeplab_miou.metric.frame_scores import score_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.frame_scores import Scoring

_INVALID = 255


class Predictor(Protocol):
    """What the pipeline asks of a source of predictions.

    Attributes:
        any_size: it predicts at any size of ground truth; otherwise only at the size of its input.
        needs_worker: scoring takes so long that messages pile up meanwhile, and belongs into a
            thread of its own; otherwise handing a frame over would cost more than scoring it.
    """

    any_size: bool
    needs_worker: bool

    def prepare(self, message: ImageMessage) -> NDArray[np.uint8]:
        """Return the array that `score` wants for one image message.

        Raises:
            FrameError: the message cannot be used.
        """

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        label_map: LabelMap,
        *,
        watched: bool,
    ) -> Scoring:
        """Start to predict images at the sizes of their ground truth and to count the result.

        Args:
            images: from `prepare`.
            ground_truths: train ids ``(h, w)`` uint8, one map an image.
            label_map: classes and ignore index of the ground truth.
            watched: whether the scores hold the predictions too.

        Raises:
            FrameError: the device could not do it for this batch; a smaller one may work.
        """


class NetworkPredictor:
    """Predictions of a network.

    Args:
        segmenter: runs the network, see `deeplab_miou.model.segmenter`.
    """

    any_size = True
    needs_worker = True

    def __init__(self, segmenter: Segmenting) -> None:
        self._segmenter = segmenter

    def prepare(self, message: ImageMessage) -> NDArray[np.uint8]:
        """Return the image, (H, W, 3) uint8 RGB."""
        return decode_color(message)

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        label_map: LabelMap,
        *,
        watched: bool,
    ) -> Scoring:
        """Run the network; logits are resized to the ground truth's size, then argmax."""
        return self._segmenter.score(images, ground_truths, label_map.ignore_index, watched=watched)


class Segmenting(Protocol):
    """The part of a `Segmenter` that is used here."""

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        ignore_index: int,
        *,
        watched: bool,
    ) -> Scoring:
        """Start to segment images and to count the result against ground truth."""


class TopicPredictor:
    """Predictions that arrive as label images of train ids; unknown ids are invalid predictions.

    Args:
        label_map: how to read the prediction images, when they hold raw ids or colours of a label
            map instead of train ids. Its classes must be those of the labels.
        truth_map: the labels' own map; indexed PNGs whose colours are its classes' may not hold
            train ids, and are refused.
    """

    any_size = False
    needs_worker = False

    def __init__(
        self, label_map: LabelMap | None = None, truth_map: LabelMap | None = None
    ) -> None:
        self._label_map = label_map
        self._train_ids = truth_map.of_train_ids() if truth_map else None

    def prepare(self, message: ImageMessage) -> NDArray[np.uint8]:
        """Return the predicted ids, (H, W) uint8; what is no class id is 255."""
        if self._label_map is not None:
            ids = decode_labels(message, self._label_map).ids
            if self._label_map.ignore_index == _INVALID:
                return ids
            return np.where(ids == self._label_map.ignore_index, np.uint8(_INVALID), ids)
        raw = decode_ids(message, self._train_ids)
        if raw.dtype == np.uint8:
            return raw.view(np.uint8)
        outside = (raw < 0) | (raw > _INVALID)
        return np.where(outside, _INVALID, raw).astype(np.uint8)

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        label_map: LabelMap,
        *,
        watched: bool,
    ) -> Scoring:
        """Count the predictions that arrived."""
        return score_labels(
            ground_truths, images, label_map.num_classes, label_map.ignore_index, watched=watched
        )
