"""From a pair of messages to the arrays that are scored."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_labels
from deeplab_miou.images.depth import decode_depth

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from numpy.typing import NDArray

    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.outcomes import Arrival
    from deeplab_miou.evaluation.pairing import Pair
    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.regions.regions import Regions

    Size = tuple[int, int]

# Image and label show the same view if their aspect ratios differ by rounding only.
_ASPECT_TOLERANCE = 0.02


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


class FrameDecoder:
    """Decodes pairs, when their turn comes or ahead of it.

    Args:
        predictor: what the images are for.
        label_map: what the labels mean.
        regions: what is scored separately, and what is not scored.
        legends: the names of ids.
        score_at: whose resolution is scored, the ``label``'s or the ``prediction``'s.
        executor: decodes what is announced, while others are scored; None to decode it when its
            turn comes.
    """

    def __init__(
        self,
        predictor: Predictor,
        label_map: LabelMap,
        regions: Regions,
        legends: Legends,
        *,
        score_at: Literal["label", "prediction"],
        executor: Executor | None,
    ) -> None:
        self._predictor = predictor
        self._label_map = label_map
        self._regions = regions
        self._legends = legends
        self._score_at = score_at
        self._executor = executor
        self._ahead: dict[int, Future[Frame]] = {}

    def announce(self, pair: Pair[Arrival]) -> None:
        """Announce a pair that will certainly be decoded."""
        if self._executor is not None:
            self._ahead[id(pair)] = self._executor.submit(self._decode, pair)

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
    if abs(ratio - 1) > _ASPECT_TOLERANCE:
        raise FrameError(
            Reason.SIZE_MISMATCH, f"{sizes}: expected the same view, so the same aspect ratio"
        )


def _resize(pixels: NDArray[Any], size: Size) -> NDArray[Any]:
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
