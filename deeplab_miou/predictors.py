"""Where predictions come from: the network, or label images that somebody else publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from deeplab_miou.images import decode_color, decode_ids, decode_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.images import ImageMessage
    from deeplab_miou.labels import LabelMap

    Size = tuple[int, int]

_INVALID = 255


class Predictor(Protocol):
    """What the pipeline asks of a source of predictions.

    Attributes:
        any_size: it predicts at any size asked for; otherwise only at the size of its input.
    """

    any_size: bool

    def prepare(self, message: ImageMessage) -> NDArray[np.uint8]:
        """Return the array that `predict` wants for one image message.

        Raises:
            FrameError: the message cannot be used.
        """

    def predict(
        self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]
    ) -> Sequence[NDArray[np.uint8]]:
        """Return a label map (h, w) of train ids for each image, of the size asked for.

        Raises:
            FrameError: the device could not do it for this batch; a smaller one may work.
        """


class NetworkPredictor:
    """Predictions of a network.

    Args:
        segmenter: runs the network, see `deeplab_miou.model.segmenter`.
    """

    any_size = True

    def __init__(self, segmenter: Segmenting) -> None:
        self._segmenter = segmenter

    def prepare(self, message: ImageMessage) -> NDArray[np.uint8]:
        """Return the image, (H, W, 3) uint8 RGB."""
        return decode_color(message)

    def predict(
        self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]
    ) -> Sequence[NDArray[np.uint8]]:
        """Run the network; logits are resized to the sizes asked for, then argmax."""
        return self._segmenter.predict(images, sizes)


class Segmenting(Protocol):
    """The part of a `Segmenter` that is used here."""

    def predict(
        self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]
    ) -> Sequence[NDArray[np.uint8]]:
        """Return a label map of train ids for each image."""


class TopicPredictor:
    """Predictions that arrive as label images of train ids; unknown ids are invalid predictions.

    Args:
        label_map: how to read the prediction images, when they hold raw ids or colours of a label
            map instead of train ids. Its classes must be those of the labels.
    """

    any_size = False

    def __init__(self, label_map: LabelMap | None = None) -> None:
        self._label_map = label_map

    def prepare(self, message: ImageMessage) -> NDArray[np.uint8]:
        """Return the predicted ids, (H, W) uint8; what is no class id is 255."""
        if self._label_map is not None:
            ids = decode_labels(message, self._label_map).ids
            if self._label_map.ignore_index == _INVALID:
                return ids
            return np.where(ids == self._label_map.ignore_index, np.uint8(_INVALID), ids)
        raw = decode_ids(message)
        if raw.dtype == np.uint8:
            return raw.view(np.uint8)
        outside = (raw < 0) | (raw > _INVALID)
        return np.where(outside, _INVALID, raw).astype(np.uint8)

    def predict(
        self,
        images: Sequence[NDArray[np.uint8]],
        sizes: Sequence[Size],  # noqa: ARG002  (checked before)
    ) -> Sequence[NDArray[np.uint8]]:
        """Return the predictions that arrived."""
        return images
