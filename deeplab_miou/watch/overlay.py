"""The newest overlay picture, for browsers that show it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WANTED_S = 5.0
_PERIOD_S = 0.5
_MAX_SIDE = 960
_QUALITY = 80


class Overlay:
    """Keeps one picture as JPEG; thread-safe.

    The evaluator draws an overlay for each frame while somebody subscribes. So nobody does, unless
    a page has asked for it within the last seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_s = -_WANTED_S
        self._drawn_s = -_PERIOD_S
        self._jpeg = b""

    def ask(self) -> bytes:
        """Return the newest picture, empty if there is none yet, and want more of them."""
        with self._lock:
            self._asked_s = time.monotonic()
            return self._jpeg

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has asked lately; what was kept for nobody is forgotten."""
        with self._lock:
            wanted = time.monotonic() - self._asked_s < _WANTED_S
            if not wanted:
                self._jpeg = b""
            return wanted

    @property
    def is_due(self) -> bool:
        """Whether the picture is old enough to be replaced."""
        with self._lock:
            return time.monotonic() - self._drawn_s >= _PERIOD_S

    def show(self, rgb: NDArray[np.uint8]) -> None:
        """Replace the picture.

        Args:
            rgb: ``(H, W, 3)`` uint8; made smaller if it is large.
        """
        scale = _MAX_SIDE / max(rgb.shape[:2])
        if scale < 1:
            size = [max(1, round(scale * side)) for side in rgb.shape[1::-1]]
            small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        else:
            small = rgb
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
        with self._lock:
            self._jpeg = jpeg.tobytes()
            self._drawn_s = time.monotonic()
