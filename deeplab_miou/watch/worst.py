"""The worst moments so far, with the pictures that could be had of them."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.metric.worst_frames import WorstFrames
from deeplab_miou.pictures.reduced import OVERLAY_SIDE, reduced_jpeg
from deeplab_miou.report.stamps import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class _Picture(NamedTuple):
    # Of its content: browsers reuse what they have seen under a name, also of another run's frame.
    name: str
    jpeg: bytes


class WorstMoments:
    """Keeps a few frames and a picture of each at most; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: WorstFrames[None] = WorstFrames()
        self._runs: dict[str, object] = {}
        self._pictures: dict[tuple[str, int], _Picture] = {}

    def add(self, matrix: NDArray[np.int64], stamp_ns: int, source: str, run: object) -> None:
        """Take a frame.

        Args:
            matrix: its counts, ``(n, n + 1)`` int64.
            stamp_ns: its stamp, nanoseconds.
            source: which evaluator scored it.
            run: of that evaluator; another one than before means that counting began anew.
        """
        with self._lock:
            if self._runs.setdefault(source, run) != run:
                self._clear()
                self._runs[source] = run
            self._frames.update(matrix, stamp_ns, None, source)
            kept = self._keys()
            for gone in self._pictures.keys() - kept:
                del self._pictures[gone]

    def wants_picture(self, source: str, stamp_ns: int) -> bool:
        """Whether a frame is among the worst and has no picture yet."""
        key = (source, stamp_ns)
        with self._lock:
            return key in self._keys() and key not in self._pictures

    def show(self, source: str, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        """Keep a picture, ``(H, W, 3)`` uint8, of a frame that wants one."""
        jpeg = reduced_jpeg(rgb, OVERLAY_SIDE)
        name = hashlib.sha256(jpeg).hexdigest()[:16]
        with self._lock:
            if (source, stamp_ns) in self._keys():
                self._pictures[source, stamp_ns] = _Picture(name, jpeg)

    def picture(self, name: str) -> bytes:
        """Return the picture that `content` names; empty if there is none."""
        with self._lock:
            return next((each.jpeg for each in self._pictures.values() if each.name == name), b"")

    def content(self, names: Sequence[str]) -> list[dict[str, object]]:
        """Return what the page shows, worst first; ``picture`` is the name of one, or empty.

        Args:
            names: of the n classes.
        """
        columns = [*names, "no class"]
        with self._lock:
            return [
                {
                    "moment": format_time(each.stamp_ns),
                    "source": each.source,
                    "miou": each.miou,
                    "wrong": each.wrong,
                    "truth": columns[each.confusion[0]],
                    "taken_for": columns[each.confusion[1]],
                    "pixels": each.confusion[2],
                    "picture": self._name_of_picture(each.source, each.stamp_ns),
                }
                for each in self._frames.frames()
            ]

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._frames.reset()
        self._pictures.clear()
        self._runs.clear()

    def _name_of_picture(self, source: str, stamp_ns: int) -> str:
        found = self._pictures.get((source, stamp_ns))
        return "" if found is None else found.name

    def _keys(self) -> set[tuple[str, int]]:
        return {(each.source, each.stamp_ns) for each in self._frames.frames()}
