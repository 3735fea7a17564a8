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
    class is at most `distance`: the trimap of Krähenbühl and Koltun (NIPS 2011) by which DeepLabv3+
    was measured (Chen et al., ECCV 2018, fig. 5). What is ignored has no border.

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
    areas = np.zeros(ground_truth.shape, np.int32)
    for train_id in np.flatnonzero(np.bincount(ground_truth.ravel(), minlength=256)):
        if train_id == ignore_index:
            continue
        of_class = ground_truth == train_id
        x, y, width, height = cv2.boundingRect(of_class.view(np.uint8))
        box = np.s_[y : y + height, x : x + width]
        here = of_class[box]
        _, components, statistics, _ = cv2.connectedComponentsWithStats(here.view(np.uint8))
        area = statistics[:, cv2.CC_STAT_AREA]
        area[0] = 0
        areas[box] += area[components]
    return areas


def _disk(radius: float) -> NDArray[np.uint8]:
    reach = int(radius)
    along = np.arange(-reach, reach + 1) ** 2
    return (along[:, None] + along <= radius**2).astype(np.uint8)
