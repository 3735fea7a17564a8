"""The newest picture of a topic, for browsers that show it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou.pictures.reduced import reduced_jpeg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WANTED_S = 5.0
_PERIOD_S = 0.5
_MAX_SIDE = 960


class Picture:
    """Keeps one picture as JPEG; thread-safe.

    The evaluator draws a picture of each frame while it has subscribers. So the node subscribes
    only if a page has asked for the picture within the last few seconds.
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
        jpeg = reduced_jpeg(rgb, _MAX_SIDE)
        with self._lock:
            self._jpeg = jpeg
            self._drawn_s = time.monotonic()
