"""Rates and latencies of a live stream, and log lines that do not flood."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_REMEMBERED = 600


class Rate:
    """Events per second over the last seconds; thread-safe, bounded memory.

    Args:
        span_s: over how many seconds, at most the last 600 events.
        clock: seconds, monotonic.
    """

    def __init__(self, span_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._span_s = span_s
        self._clock = clock
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=_REMEMBERED)

    def tick(self) -> None:
        """Count an event that happens now."""
        now_s = self._clock()
        with self._lock:
            self._times.append(now_s)

    def hertz(self) -> float:
        """Return the rate, 1/s; 0 when fewer than two events fall into the span."""
        now_s = self._clock()
        with self._lock:
            times = [time_s for time_s in self._times if now_s - time_s <= self._span_s]
        if len(times) < 2 or now_s <= times[0]:  # noqa: PLR2004
            return 0.0
        return (len(times) - 1) / (now_s - times[0])


@dataclass(frozen=True)
class Quantiles:
    """Median and 95th percentile, seconds; NaN without samples."""

    median_s: float
    p95_s: float


class Latencies:
    """The last 600 durations; thread-safe, bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, duration_s: float) -> None:
        """Add a duration, seconds."""
        with self._lock:
            self._samples.append(duration_s)

    def quantiles(self) -> Quantiles:
        """Return median and 95th percentile of what is remembered."""
        with self._lock:
            samples = list(self._samples)
        if not samples:
            return Quantiles(float("nan"), float("nan"))
        median_s, p95_s = np.quantile(samples, [0.5, 0.95])
        return Quantiles(float(median_s), float(p95_s))


class Throttle:
    """Lets one line of a kind through every so often, and counts the rest; thread-safe.

    Args:
        interval_s: least time between two lines of a kind, seconds.
        clock: seconds, monotonic.
    """

    def __init__(
        self, interval_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: dict[Hashable, float] = {}
        self._held_back: dict[Hashable, int] = {}

    def admit(self, kind: Hashable) -> int | None:
        """Ask to write a line of a kind.

        Args:
            kind: from a small, fixed set.

        Returns:
            None to hold the line back; else how many of its kind were held back since the last.
        """
        now_s = self._clock()
        with self._lock:
            last_s = self._last_s.get(kind)
            if last_s is not None and now_s - last_s < self._interval_s:
                self._held_back[kind] = self._held_back.get(kind, 0) + 1
                return None
            self._last_s[kind] = now_s
            return self._held_back.pop(kind, 0)
