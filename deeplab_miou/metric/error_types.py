"""What kind of mistakes a network makes: at boundaries, in the extent of segments, whole segments.

Every pixel that keeps a class's IoU below 1 is of one type (Bernhard et al., "What's Outside
the Intersection?", WACV 2024), so that IoU + boundary + extent + segment = 1:

* boundary: in a seam no wider than `width` between what is right and what is rightly another class;
* extent: in a segment of the prediction (false positive) or of the ground truth (false negative)
  that is partly right;
* segment: in a segment that is entirely wrong.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from deeplab_miou.metric.counts import MISTAKES
from deeplab_miou.metric.scores import class_counts, divide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.metric.counts import Counts

TYPES = ("boundary", "extent", "segment")
BOUNDARY_WIDTH = 0.01
BOUNDARY_IOU_WIDTH = 0.02

_SQUARE = np.ones((3, 3), np.uint8)
_IDS = 256


def count_error_types(
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
    width: float = BOUNDARY_WIDTH,
) -> NDArray[np.int64]:
    """Count the wrong pixels of each class by their type.

    Args:
        ground_truth: train ids, uint8 ``(h, w)``.
        prediction: predicted ids of the same shape; ids from `num_classes` on are not classes.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
        width: width of a boundary as a fraction of the image's diagonal.

    Returns:
        int64 ``(n, 2, 3)``: for each class its false positives and false negatives of each of
        `TYPES`.
    """
    # Numba takes half a second to import.
    from deeplab_miou.metric import component_kernels as components  # noqa: PLC0415
    from deeplab_miou.metric import error_kernels as kernels  # noqa: PLC0415

    truth, predicted = (np.ascontiguousarray(each) for each in (ground_truth, prediction))
    heights = _disk(_pixels(width, truth.shape))
    marks = np.zeros_like(truth)
    is_class = (np.arange(_IDS) < num_classes).astype(np.uint8)
    is_class[ignore_index] = 0
    look_around = kernels.look_around(heights.dtype.name)
    for what in (kernels.RIGHT, kernels.OTHER, kernels.MISSED_SEEDS, kernels.EXCESS_SEEDS):
        look_around(truth, predicted, marks, what, is_class, heights)
    # As in the authors' code, ignored pixels take part as context: they join segments, and are
    # rightly another class where another is predicted; but they are not counted.
    is_labelled = (truth != ignore_index).view(np.uint8)
    counts = np.zeros((2, _IDS, len(TYPES)), np.int64)
    for each, own, other, seam, boundary in (
        (counts[0], predicted, truth, kernels.EXCESS_SEAM, kernels.EXCESS_BOUNDARY),
        (counts[1], truth, predicted, kernels.MISSED_SEAM, kernels.MISSED_BOUNDARY),
    ):
        components.keep_boundaries()(own, other, marks, seam, boundary)
        components.count_types()(own, other, marks, boundary, is_labelled, each)
    counts[:, is_class == 0] = 0
    return counts.swapaxes(0, 1)[:num_classes].copy()


def count_boundaries(
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
    width: float = BOUNDARY_IOU_WIDTH,
) -> NDArray[np.int64]:
    """Count what boundary IoU is computed from.

    Boundary IoU (Cheng et al., CVPR 2021) is the IoU of the pixels of prediction and ground truth
    that are not farther from their contour than `width`, in the steps of a 3 x 3 erosion as in the
    authors' code. The image's edge is a contour there. Pixels that are ignored are no part of
    either mask and count nowhere.

    Args:
        ground_truth: train ids, uint8 ``(h, w)``.
        prediction: predicted ids of the same shape.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
        width: as a fraction of the image's diagonal.

    Returns:
        int64 ``(n, 2)``: intersection and union of each class.
    """
    reach = _pixels(width, ground_truth.shape)
    # What the prediction says of ignored pixels must not move its contour.
    predicted = np.where(ground_truth == ignore_index, ground_truth, prediction)
    seams = _seams(ground_truth, reach), _seams(predicted, reach)
    both = seams[0] & seams[1] & (ground_truth == predicted)
    intersection, *sizes = (
        np.bincount(ids[chosen], minlength=_IDS)
        for ids, chosen in (
            (predicted, both),
            (ground_truth, seams[0]),
            (predicted, seams[1]),
        )
    )
    counts = np.stack((intersection, sum(sizes) - intersection), axis=1)
    counts[ignore_index] = 0
    return counts[:num_classes].astype(np.int64)


def _seams(ids: NDArray[np.uint8], reach: int) -> NDArray[np.bool_]:
    """Return which pixels have another id, or the image's edge, within `reach` steps."""
    greatest = cv2.dilate(ids, _SQUARE, iterations=reach)
    near: NDArray[np.bool_] = greatest != cv2.erode(ids, _SQUARE, iterations=reach)
    near[:reach] = near[-reach:] = near[:, :reach] = near[:, -reach:] = True
    return near


def count_mistakes(
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
) -> NDArray[np.int64]:
    """Count types of errors and boundaries, as `Counts.mistakes` holds them, int64 ``(n, 8)``."""
    errors = count_error_types(ground_truth, prediction, num_classes, ignore_index)
    boundaries = count_boundaries(ground_truth, prediction, num_classes, ignore_index)
    return np.concatenate((errors.reshape(num_classes, -1), boundaries), axis=1)


def warm_up() -> None:
    """Compile, or load from the cache, what counting takes."""
    ids = np.zeros((2, 2), np.uint8)
    count_mistakes(ids, ids, 1, _IDS - 1)


def mistake_shares(counts: Counts) -> dict[str, NDArray[np.float64]]:
    """Return what the mistakes of each class amount to.

    Args:
        counts: with mistakes.

    Returns:
        By name (n,) float64: for each of `TYPES` the share of the class's union, which with its IoU
        add up to 1, and ``boundary_iou``. NaN where a class is absent, and where the mistakes of
        some frames are missing.
    """
    n = len(counts.matrix)
    counted = len(counts.mistakes) > 0
    mistakes = counts.mistakes if counted else np.zeros((n, len(MISTAKES)), np.int64)
    intersection, union = class_counts(counts.matrix)
    types = mistakes[:, : len(TYPES)] + mistakes[:, len(TYPES) : 2 * len(TYPES)]
    complete = counted and bool((intersection + types.sum(axis=1) == union).all())
    shares = {name: divide(types[:, k], union * complete) for k, name in enumerate(TYPES)}
    return shares | {"boundary_iou": divide(mistakes[:, -2], mistakes[:, -1] * complete)}


def _pixels(fraction: float, shape: tuple[int, ...]) -> int:
    return max(round(fraction * math.hypot(*shape)), 1)


def _disk(reach: int) -> NDArray[Any]:
    """Return how far up and down a disk reaches in each of its columns.

    A pixel is in it if its distance from the centre, rounded, is at most `reach`.
    """
    along = np.arange(-reach, reach + 1)
    kind = np.uint8 if reach < _IDS - 2 else np.uint16
    return np.asarray(np.sqrt(reach * (reach + 1) - along**2), kind)
