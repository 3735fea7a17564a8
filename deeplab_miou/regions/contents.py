"""Parts of a frame that depend on its ground truth: borders, interiors, objects by their size."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As COCO divides objects (`areaRng` of its evaluation): below 32 x 32 pixels, from 96 x 96 on.
MEDIUM_AREA = 32**2
LARGE_AREA = 96**2


class ObjectSize(str, Enum):
    """How large an object is in the image."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


def border(
    ground_truth: NDArray[np.uint8], ignore_index: int, distance: float
) -> NDArray[np.bool_]:
    """Find the pixels near the border of two classes.

    These are the labelled pixels whose Euclidean distance to the nearest pixel of another labelled
    class is at most `distance`, a trimap as of Kohli et al. (IJCV 2009). What is ignored has no
    border; for objects that void contours separate there is `near_void`.

    Args:
        ground_truth: train ids, uint8 ``(h, w)``.
        ignore_index: the id that is not scored.
        distance: pixels between centres, at least 1.

    Returns:
        bool ``(h, w)``.
    """
    labelled = ground_truth != ignore_index
    disk = _disk(distance)
    # Another class is near if the largest or the smallest id around is not the pixel's own.
    largest = cv2.dilate(np.where(labelled, ground_truth, np.uint8(0)), disk)
    smallest = cv2.erode(np.where(labelled, ground_truth, np.uint8(255)), disk)
    near: NDArray[np.bool_] = labelled & ((largest > ground_truth) | (smallest < ground_truth))
    return near


def near_void(
    ground_truth: NDArray[np.uint8], ignore_index: int, distance: float
) -> NDArray[np.bool_]:
    """Find the labelled pixels near ignored ones.

    This is the trimap with which DeepLabv3+ was evaluated (Chen et al., ECCV 2018, fig. 5): void
    labels, which lie along the contours of objects in Pascal VOC, dilated by a disk.

    Args:
        ground_truth: train ids, uint8 ``(h, w)``.
        ignore_index: the id that is not scored.
        distance: pixels between centres, at least 1.

    Returns:
        bool ``(h, w)``.
    """
    void = ground_truth == ignore_index
    dilated = cv2.dilate(void.view(np.uint8), _disk(distance))
    near: NDArray[np.bool_] = (dilated > 0) & ~void
    return near


def object_sizes(
    ground_truth: NDArray[np.uint8], ignore_index: int
) -> dict[ObjectSize, NDArray[np.bool_]]:
    """Sort labelled pixels by the area of the object that they belong to.

    An object is a connected component of one class, diagonal neighbours included.

    Args:
        ground_truth: train ids, uint8 ``(h, w)``.
        ignore_index: the id that is not scored.

    Returns:
        bool ``(h, w)`` for each size; together they are all labelled pixels.
    """
    area = component_areas(ground_truth, ignore_index)
    return {
        ObjectSize.SMALL: (area > 0) & (area < MEDIUM_AREA),
        ObjectSize.MEDIUM: (area >= MEDIUM_AREA) & (area < LARGE_AREA),
        ObjectSize.LARGE: area >= LARGE_AREA,
    }


def component_areas(ground_truth: NDArray[np.uint8], ignore_index: int) -> NDArray[np.int32]:
    """Return the area of the connected component of each pixel, int32 ``(h, w)``; 0 if ignored."""
    # Numba takes half a second to import.
    from deeplab_miou.metric.component_kernels import write_areas  # noqa: PLC0415

    areas = np.zeros(ground_truth.shape, np.int32)
    write_areas()(np.ascontiguousarray(ground_truth), np.uint8(ignore_index), areas)
    return areas


def _disk(radius: float) -> NDArray[np.uint8]:
    reach = int(radius)
    along = np.arange(-reach, reach + 1) ** 2
    return (along[:, None] + along <= radius**2).astype(np.uint8)
