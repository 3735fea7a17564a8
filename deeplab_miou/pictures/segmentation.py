"""Pictures of predictions, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.labels.label_map import LabelMap

_OPACITY = 0.5
_RED = (235, 60, 50)
_GRAY = 96


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


def comparison(
    image: NDArray[np.uint8] | None,
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    label_map: LabelMap,
    *,
    width: int = 320,
) -> NDArray[np.uint8]:
    """Return image, ground truth, prediction and mistakes as four panels, two a row.

    Mistakes are red; ground truth that is not scored is black.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, resized to the labels; None if there is none.
        ground_truth: ``(h, w)`` uint8 train ids.
        prediction: ``(h, w)`` uint8 train ids.
        label_map: gives the colours.
        width: of a panel, pixels; smaller labels are not enlarged.

    Returns:
        uint8 RGB picture of twice the panel's size.
    """
    scale = min(1.0, width / ground_truth.shape[1])
    size = (
        max(1, round(scale * ground_truth.shape[1])),
        max(1, round(scale * ground_truth.shape[0])),
    )
    scored = ground_truth != label_map.ignore_index
    wrong = scored & (prediction != ground_truth)
    view = (
        np.full((*ground_truth.shape, 3), _GRAY, np.uint8)
        if image is None
        else np.ascontiguousarray(image)
    )
    panel = np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), np.uint8)
    labels = [
        cv2.resize(label_map.colorize(ids), size, interpolation=cv2.INTER_NEAREST)
        for ids in (ground_truth, prediction)
    ]
    # Averaged, not picked: a mistake of one pixel's width must stay visible.
    red, seen = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None]
        for mask in (wrong, scored)
    )
    dim = cv2.cvtColor(panel, cv2.COLOR_RGB2GRAY)[..., None] * 0.5 * seen
    mistakes = np.rint(dim * (1 - red) + np.array(_RED) * red).astype(np.uint8)
    rows = (np.hstack((panel, labels[0])), np.hstack((labels[1], mistakes)))
    return np.asarray(np.vstack(rows), np.uint8)
