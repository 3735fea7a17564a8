"""What kind of mistakes a network makes: at boundaries, in the extent of segments, whole segments.

Every pixel by which a class's IoU falls short of 1 is of one type (Bernhard et al., "What's Outside
the Intersection?", WACV 2024), so that IoU + boundary + extent + segment = 1:

* boundary: in a seam no wider than `width` between what is right and what is rightly another class;
* extent: in a segment of the prediction (false positive) or of the ground truth (false negative)
  that is partly right;
* segment: in a segment of which nothing is right.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from deeplab_miou.metric.counts import MISTAKES
from deeplab_miou.metric.scores import class_counts, divide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from deeplab_miou.metric.counts import Counts

TYPES = ("boundary", "extent", "segment")
BOUNDARY_WIDTH = 0.01
BOUNDARY_IOU_WIDTH = 0.02

# The time of a dilation grows with the area of the disk, that of a distance transform does not.
_FAR = 24
_SQUARE = np.ones((3, 3), np.uint8)


class _Masks(NamedTuple):
    """Where one class is in the part of an image around it; uint8 ``(h, w)`` of 0 and 1."""

    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    labelled: NDArray[np.uint8]


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
        prediction: predicted ids of the same shape; ids from `num_classes` on are no class.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
        width: width of a boundary as a fraction of the image's diagonal.

    Returns:
        int64 ``(n, 2, 3)``: for each class its false positives and false negatives of each of
        `TYPES`.
    """
    reach = _pixels(width, ground_truth.shape)
    counts = np.zeros((num_classes, 2, len(TYPES)), np.int64)
    for train_id, masks in _classes(ground_truth, prediction, num_classes, ignore_index, reach + 1):
        counts[train_id] = _count_class(masks, reach)
    return counts


def count_boundaries(
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
    width: float = BOUNDARY_IOU_WIDTH,
) -> NDArray[np.int64]:
    """Count what boundary IoU is computed from.

    Boundary IoU (Cheng et al., CVPR 2021) is the IoU of the pixels of prediction and ground truth
    that are no farther from their contour than `width`, in the steps of a 3 x 3 erosion as in the
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
    counts = np.zeros((num_classes, 2), np.int64)
    for train_id, masks in _classes(ground_truth, prediction, num_classes, ignore_index, 0):
        # What the prediction says of ignored pixels must not move its contour.
        truth, predicted = (
            _inner_seam(mask, reach) for mask in (masks.truth, masks.predicted & masks.labelled)
        )
        counts[train_id] = _count(truth & predicted), _count(truth | predicted)
    return counts


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


def _classes(
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
    margin: int,
) -> Iterator[tuple[int, _Masks]]:
    """Yield each class that occurs, in the part of the image that is at most `margin` from it."""
    labelled = (ground_truth != ignore_index).view(np.uint8)
    occurs = np.bincount(ground_truth.ravel(), minlength=256)
    occurs = occurs + np.bincount(prediction.ravel(), minlength=256)
    for train_id in np.flatnonzero(occurs[:num_classes]).tolist():
        if train_id == ignore_index:
            continue
        truth = (ground_truth == train_id).view(np.uint8)
        predicted = (prediction == train_id).view(np.uint8)
        x, y, width, height = cv2.boundingRect(truth | predicted)
        part = np.s_[
            max(y - margin, 0) : y + height + margin, max(x - margin, 0) : x + width + margin
        ]
        yield train_id, _Masks(truth[part], predicted[part], labelled[part])


def _count_class(masks: _Masks, reach: int) -> list[list[int]]:
    """Count the types of one class, false positives first.

    As in the authors' code, ignored pixels take part as context: they join segments, and are
    rightly another class where another is predicted; but they are not counted.
    """
    truth, predicted, labelled = masks
    right, rightly_other = truth & predicted, 1 - (truth | predicted)
    seams = _dilate(right, reach) & _dilate(rightly_other, reach)
    beside_right, beside_other = _dilate(right, 1), _dilate(rightly_other, 1)
    counts = []
    for segments, wrong in ((predicted, predicted & (1 - truth)), (truth, truth & (1 - predicted))):
        boundary = _dilate(wrong & seams, reach) & wrong
        at = np.flatnonzero(boundary.view(np.bool_))
        component = _components(boundary)[at]
        is_boundary = _holds(component, beside_right.ravel()[at])[component]
        is_boundary &= _holds(component, beside_other.ravel()[at])[component]
        boundary.ravel()[at[~is_boundary]] = 0
        segment = _components(segments)
        rest = np.flatnonzero((wrong & labelled & (1 - boundary)).view(np.bool_))
        extent = int(_holds(segment, right.ravel())[segment[rest]].sum())
        counts.append([_count(boundary & labelled), extent, rest.size - extent])
    return counts


def _components(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Number the connected components of a mask, diagonals included; int32 ``(h * w,)``."""
    _, components = cv2.connectedComponents(mask)
    return np.asarray(components, np.int32).ravel()


def _holds(components: NDArray[np.int32], what: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell for each number of `components` whether one of its pixels is in a mask."""
    holds = np.zeros(int(components.max(initial=0)) + 1, np.bool_)
    holds[components[what.view(np.bool_)]] = True
    return holds


def _inner_seam(mask: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    # Zeros around it: the image's edge is a contour.
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, _SQUARE, iterations=reach)[1:-1, 1:-1]
    return np.asarray(mask - eroded, np.uint8)


def _dilate(mask: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Dilate by a disk; by one pixel, diagonals are included."""
    if reach > _FAR and mask.any():
        distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.asarray(distance < reach + 0.5, np.uint8)
    along = np.arange(-reach, reach + 1) ** 2
    disk = (np.round(np.sqrt(along[:, None] + along)) <= reach).astype(np.uint8)
    return np.asarray(cv2.dilate(mask, disk), np.uint8)


def _count(mask: NDArray[np.uint8]) -> int:
    return cv2.countNonZero(mask)
