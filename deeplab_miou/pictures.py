"""Pictures of predictions, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.labels import LabelMap

_OPACITY = 0.5


def overlay(
    image: NDArray[np.uint8], ids: NDArray[np.uint8], label_map: LabelMap
) -> NDArray[np.uint8]:
    """Return an image with its classes painted over it, half transparent.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        ids: ``(h, w)`` uint8 train ids, resized to the image by nearest neighbour.
        label_map: gives the colours.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    if ids.shape != (height, width):
        nearest = cv2.INTER_NEAREST_EXACT
        ids = np.asarray(cv2.resize(ids, (width, height), interpolation=nearest), np.uint8)
    colors = label_map.colorize(ids)
    base = np.ascontiguousarray(image)
    return np.asarray(cv2.addWeighted(base, 1 - _OPACITY, colors, _OPACITY, 0), np.uint8)
