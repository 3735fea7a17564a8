"""Recorded time against real time."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NS = 1_000_000_000


@dataclass
class PlaybackClock:
    """Recorded time against the wall clock.

    Args:
        start_ns: recorded time that playing begins at.
        rate: recorded seconds in one second; ``inf`` plays without waiting.
        wall_s: wall clock at the beginning.
    """

    start_ns: int
    rate: float
    wall_s: float

    def due_s(self, recorded_ns: int) -> float:
        """Return the wall clock at which a recorded time is due."""
        return self.wall_s + (recorded_ns - self.start_ns) / _NS / self.rate

    def recorded_ns(self, wall_s: float) -> int:
        """Return the recorded time that a wall clock stands for."""
        return self.start_ns + round((wall_s - self.wall_s) * self.rate * _NS)


class Ticks:
    """Tells when the next of periodic events is due; what was missed is not made up for.

    Args:
        rate: events per second, 0 for none.
    """

    def __init__(self, rate: float) -> None:
        self._period_s = 1 / rate if rate else math.inf
        self._next_s = -math.inf if rate else math.inf

    @property
    def next_s(self) -> float:
        """When the next event is due; minus infinity before the first."""
        return self._next_s

    def due(self, now_s: float) -> bool:
        """Return whether an event is due, and go on to the next if so."""
        if now_s < self._next_s:
            return False
        missed = now_s - self._next_s > self._period_s
        self._next_s = (now_s if missed else self._next_s) + self._period_s
        return True
