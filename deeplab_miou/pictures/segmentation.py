"""Pictures of predictions, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from deeplab_miou.labels.label_map import LabelMap

_OPACITY = 0.5
_RED = (235, 60, 50)
_GREEN = (60, 190, 90)
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


def mistakes(
    image: NDArray[np.uint8],
    ground_truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    label_map: LabelMap,
) -> NDArray[np.uint8]:
    """Return a darkened image with mistakes in red; ground truth that is not scored is black.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        ground_truth: ``(h, w)`` uint8 train ids.
        prediction: ``(h, w)`` uint8 train ids.
        label_map: says which id is not scored.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    scored = ground_truth != label_map.ignore_index
    wrong = scored & (prediction != ground_truth)
    return _mark(np.ascontiguousarray(image), scored, {_RED: wrong})


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
    size = _panel_size(ground_truth.shape, width)
    panel = _view(image, ground_truth.shape, size)
    labels = [_colors(ids, size, label_map) for ids in (ground_truth, prediction)]
    return _four(panel, *labels, mistakes(panel, ground_truth, prediction, label_map))


def two_predictions(
    image: NDArray[np.uint8] | None,
    ground_truth: NDArray[np.uint8] | None,
    a: NDArray[np.uint8],
    b: NDArray[np.uint8],
    label_map: LabelMap,
    *,
    width: int = 320,
) -> NDArray[np.uint8]:
    """Return ground truth, what changed, and the predictions of A and B, two panels a row.

    What became right is green, what became wrong red. Without ground truth there are three panels
    in a row, and all that A and B predict differently is red.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, resized to the predictions; None if there is none.
        ground_truth: ``(h, w)`` uint8 train ids; None if there is none.
        a: ``(h, w)`` uint8 train ids.
        b: ``(h, w)`` uint8 train ids.
        label_map: gives the colours.
        width: of a panel, pixels; smaller predictions are not enlarged.

    Returns:
        uint8 RGB picture.
    """
    size = _panel_size(a.shape, width)
    panel = _view(image, a.shape, size)
    predictions = _colors(a, size, label_map), _colors(b, size, label_map)
    differs = a != b
    if ground_truth is None:
        changes = _mark(panel, np.ones(a.shape, np.bool_), {_RED: differs})
        return np.asarray(np.hstack((changes, *predictions)), np.uint8)
    seen = ground_truth != label_map.ignore_index
    marks = {
        _RED: differs & seen & (a == ground_truth),
        _GREEN: differs & seen & (b == ground_truth),
    }
    truth = _colors(ground_truth, size, label_map)
    return _four(truth, _mark(panel, seen, marks), *predictions)


def _panel_size(shape: tuple[int, ...], width: int) -> tuple[int, int]:
    """Return width and height of a panel."""
    scale = min(1.0, width / shape[1])
    return max(1, round(scale * shape[1])), max(1, round(scale * shape[0]))


def _view(
    image: NDArray[np.uint8] | None, shape: tuple[int, ...], size: tuple[int, int]
) -> NDArray[np.uint8]:
    if image is None:
        image = np.full((*shape, 3), _GRAY, np.uint8)
    resized = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def _colors(
    ids: NDArray[np.uint8], size: tuple[int, int], label_map: LabelMap
) -> NDArray[np.uint8]:
    colors = label_map.colorize(ids)
    return np.asarray(cv2.resize(colors, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _mark(
    panel: NDArray[np.uint8],
    seen: NDArray[np.bool_],
    marks: Mapping[tuple[int, int, int], NDArray[np.bool_]],
) -> NDArray[np.uint8]:
    """Return a darkened panel with pixels marked in colours; what is not seen is black."""
    size = panel.shape[1], panel.shape[0]

    # Averaged, not picked: a mark of one pixel's width must stay visible.
    def shrunk(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        area = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return np.asarray(area, np.float32)[..., None]

    marked = cv2.cvtColor(panel, cv2.COLOR_RGB2GRAY)[..., None] * 0.5 * shrunk(seen)
    for color, mask in marks.items():
        share = shrunk(mask)
        marked = marked * (1 - share) + np.array(color) * share
    return np.asarray(np.rint(marked), np.uint8)


def _four(*panels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = np.hstack(panels[:2]), np.hstack(panels[2:])
    return np.asarray(np.vstack(rows), np.uint8)
