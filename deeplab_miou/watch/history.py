"""A score over time, in bounded memory however long it is watched."""

from __future__ import annotations

import threading
from typing import NamedTuple

# Twice as many points as a wide page has room for.
_CAPACITY = 1200


class ScorePoint(NamedTuple):
    """Scores at one moment; None where undefined.

    Attributes:
        time_s: when they arrived, seconds since 1970.
        frames: frames in them; fewer than before means that counting began anew.
        values: scores, as many in each point of a history.
    """

    time_s: float
    frames: int
    values: tuple[float | None, ...]


class History:
    """Points in the order of their arrival; thread-safe.

    When there are too many, every other one is forgotten, and new ones are kept only so far apart;
    the newest is always there.

    Args:
        capacity: most points.
    """

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._points: list[ScorePoint] = []
        self._gap_s = 0.0

    def add(self, point: ScorePoint) -> None:
        """Take a point that is newer than all before it."""
        with self._lock:
            if self._supersedes(point):
                self._points.pop()
            self._points.append(point)
            if len(self._points) > self._capacity:
                span_s = self._points[-1].time_s - self._points[0].time_s
                self._gap_s = max(2 * span_s / self._capacity, 0.0)
                # From the end, so that the newest stays.
                self._points = self._points[::-2][::-1]

    def points(self) -> list[ScorePoint]:
        """Return all points, oldest first."""
        with self._lock:
            return list(self._points)

    def _supersedes(self, point: ScorePoint) -> bool:
        """Return whether a point replaces the last one, which is too near the one before."""
        if len(self._points) < 2:  # noqa: PLR2004
            return False
        before, last = self._points[-2:]
        begins_anew = last.frames < before.frames or point.frames < last.frames
        return last.time_s - before.time_s < self._gap_s and not begins_anew
