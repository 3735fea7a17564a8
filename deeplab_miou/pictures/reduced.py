"""Pictures small enough to keep many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Of what is recorded: enough to see a pole in it.
OVERLAY_SIDE = 480
_QUALITY = 80


def reduced_jpeg(rgb: NDArray[np.uint8], most: int) -> bytes:
    """Return a picture as JPEG.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        most: pixels of its longer side; a larger picture is made smaller.
    """
    scale = most / max(rgb.shape[:2])
    if scale < 1:
        size = [max(1, round(scale * side)) for side in rgb.shape[1::-1]]
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    else:
        small = rgb
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    return jpeg.tobytes()
