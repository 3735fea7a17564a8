"""The picture of one frame's outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.images.decoding import decode_color
from deeplab_miou.pictures.segmentation import mistakes, overlay

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.labels.label_map import LabelMap


def outcome_overlay(
    outcome: FrameOutcome, label_map: LabelMap, *, is_camera: bool
) -> NDArray[np.uint8] | None:
    """Return a frame with its prediction painted over it, ``(H, W, 3)`` uint8 RGB.

    Args:
        outcome: of the frame; None is returned where its prediction was not kept, or there is
            nothing to paint it over.
        label_map: gives the colours.
        is_camera: whether its image is a camera's; else the ground truth is painted over.
    """
    if outcome.prediction is None:
        return None
    return _painted(outcome, outcome.prediction, label_map, is_camera=is_camera)


def outcome_ground_truth(
    outcome: FrameOutcome, label_map: LabelMap, *, is_camera: bool
) -> NDArray[np.uint8] | None:
    """Return a frame with its ground truth painted over it; otherwise as `outcome_overlay`."""
    if outcome.ground_truth is None:
        return None
    return _painted(outcome, outcome.ground_truth, label_map, is_camera=is_camera)


def outcome_mistakes(
    outcome: FrameOutcome, label_map: LabelMap, *, is_camera: bool
) -> NDArray[np.uint8] | None:
    """Return a darkened frame with its mistakes in red; otherwise as `outcome_overlay`."""
    truth, prediction = outcome.ground_truth, outcome.prediction
    if truth is None or prediction is None:
        return None
    base = _base(outcome, label_map, is_camera=is_camera)
    return None if base is None else mistakes(base, truth, prediction, label_map)


def _painted(
    outcome: FrameOutcome, ids: NDArray[np.uint8], label_map: LabelMap, *, is_camera: bool
) -> NDArray[np.uint8] | None:
    base = _base(outcome, label_map, is_camera=is_camera)
    return None if base is None else overlay(base, ids, label_map)


def _base(
    outcome: FrameOutcome, label_map: LabelMap, *, is_camera: bool
) -> NDArray[np.uint8] | None:
    """Return what is painted over, ``(H, W, 3)`` uint8 RGB."""
    if outcome.image is None:
        return None
    if is_camera:
        return decode_color(outcome.image.image)
    return None if outcome.ground_truth is None else label_map.colorize(outcome.ground_truth)
