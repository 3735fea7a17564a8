"""The picture of one frame's outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.images.decoding import decode_color
from deeplab_miou.pictures.segmentation import overlay

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
        outcome: of the frame; None is returned where its prediction was not kept.
        label_map: gives the colours.
        is_camera: whether its image is a camera's; else the ground truth is painted over.
    """
    image, prediction, truth = outcome.image, outcome.prediction, outcome.ground_truth
    if image is None or prediction is None or truth is None:
        return None
    base = decode_color(image.image) if is_camera else label_map.colorize(truth)
    return overlay(base, prediction, label_map)
