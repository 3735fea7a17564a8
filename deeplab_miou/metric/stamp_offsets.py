"""By how much the stamps of labels follow those of their images, and what that suggests."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

_NS = 1e9
# Different offsets that are told apart; beyond it they are rounded, to 2 ns, then 4 ns, ….
MOST_OFFSETS = 2**14
# Fewer pairs may be of one offset by chance.
_LEAST_PAIRS = 8
# Offsets that spread less than this share of their median are those of a clock, not of jitter.
_STEADY = 0.25
_LEAST_CLOCK_NS = 500_000


@dataclass(frozen=True)
class Offsets:
    """By how much the stamps of labels follow those of their images; negative if they precede.

    Attributes:
        pairs: how many pairs there are.
        median_s: median offset, seconds; NaN without pairs.
        largest_s: the offset that is largest, whatever its sign, seconds; NaN without pairs.
        hint: says that a constant offset is that of a clock; empty if there is no sign of it.
    """

    pairs: int = 0
    median_s: float = math.nan
    largest_s: float = math.nan
    hint: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the offsets as plain types for JSON."""
        return {"pairs": self.pairs, "median_s": self.median_s, "largest_s": self.largest_s}


class OffsetTally:
    """How often each offset occurs, in bounded memory and whatever the order; not thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._bits = 0
        self._largest_ns = 0

    def add(self, offset_ns: int) -> None:
        """Add the offset of a pair: its label's stamp less its image's, nanoseconds."""
        self._counts[offset_ns >> self._bits] += 1
        self._largest_ns = max(self._largest_ns, offset_ns, key=lambda ns: (abs(ns), ns))
        while len(self._counts) > MOST_OFFSETS:
            self._round()

    def copy(self) -> OffsetTally:
        """Return another that holds the same."""
        other = OffsetTally()
        other._counts, other._bits = self._counts.copy(), self._bits
        other._largest_ns = self._largest_ns
        return other

    def offsets(self) -> Offsets:
        """Return what the offsets amount to."""
        if not self._counts:
            return Offsets()
        middle_ns = (1 << self._bits) >> 1
        values_ns = np.array(sorted(self._counts), np.float64) * (1 << self._bits) + middle_ns
        ends = np.cumsum([self._counts[each] for each in sorted(self._counts)])
        pairs = int(ends[-1])

        def at(rank: int) -> float:
            return float(values_ns[np.searchsorted(ends, rank, side="right")])

        median_ns = (at((pairs - 1) // 2) + at(pairs // 2)) / 2
        spread_ns = at(math.ceil(0.95 * (pairs - 1))) - at(math.floor(0.05 * (pairs - 1)))
        is_steady = spread_ns < _STEADY * abs(median_ns) and abs(median_ns) >= _LEAST_CLOCK_NS
        return Offsets(
            pairs,
            median_ns / _NS,
            self._largest_ns / _NS,
            _hint(median_ns) if pairs >= _LEAST_PAIRS and is_steady else "",
        )

    def _round(self) -> None:
        self._bits += 1
        finer, self._counts = self._counts, Counter()
        for offset, count in finer.items():
            self._counts[offset >> 1] += count


def _hint(median_ns: float) -> str:
    side = "after" if median_ns > 0 else "before"
    return (
        f"labels are stamped {format_span(abs(median_ns))} {side} their images in nearly every "
        "pair: is one of the two clocks wrong, or are exposures stamped at the beginning by one "
        "and at the end by the other?"
    )


def format_span(span_ns: float) -> str:
    """Return a span of time in the unit that suits it."""
    for unit, size in (("h", 3.6e12), ("min", 6e10), ("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if span_ns >= size:
            return f"{span_ns / size:.3g} {unit}"
    return f"{span_ns:.3g} ns"
