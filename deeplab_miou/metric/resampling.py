"""Bounds for statistics of a stream: a block bootstrap and a confidence sequence.

Resampling single frames gives intervals that are far too short, because neighbours are alike. Whole
blocks of time are resampled instead (Carlstein, Annals of Statistics 1986); those that are still
found to be correlated are paired first, and what correlation is left widens the interval.

The interval is the expanded percentile interval (Hesterberg, The American Statistician 2015):
percentiles of the replicates at the levels at which a normal distribution reaches the quantile of
Student's t, which makes up for estimating the spread from few blocks.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

import numpy as np

from deeplab_miou.metric import anytime
from deeplab_miou.metric.blocks import MIN_BLOCKS, decorrelated, widening

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.metric.blocks import TimeBlocks

_NS = 1_000_000_000
_AT_A_TIME = 100
_NO_MOMENTS = "drives were resampled: there are no moments of one stream"


class Statistics(Protocol):
    """m statistics of summed counts, the first of which decides how blocks are paired."""

    def values(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (..., m) statistics of (..., s) counts, s being the shape of a frame's."""

    def terms(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (k, m) first-order terms of (k, s) counts of blocks, see `influence`."""

    def occurs(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return in which blocks, (k, s), each statistic is defined, (k, m)."""


@dataclass(frozen=True)
class Resampling:
    """How to resample.

    Attributes:
        replicates: number of resampled streams, at least 100.
        confidence: coverage of the intervals, between 0 and 1.
        seed: of the resampling, not negative.

    Raises:
        ValueError: a value lies outside its range.
    """

    replicates: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("replicates", self.replicates, 100), ("seed", self.seed, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, but got {value}")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, but got {self.confidence}")


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of m statistics.

    Attributes:
        fixed: (m, 2) float64, lower and upper bound for one look at the stream; NaN for statistics
            that are defined in fewer than 8 blocks.
        one_sided: (m, 2) float64: each of the two bounds alone holds with the same confidence; what
            two one-sided tests go by (Schuirmann 1987).
        anytime: (m, 2) float64, bounds that hold at every moment of the stream together; NaN with
            fewer than 16 blocks.
        blocks: how many blocks of time were resampled.
        reason: why there are no fixed bounds, None where there are.
        anytime_reason: why there are no bounds for every moment, None where there are.
        are_drives: whole drives were resampled, not blocks of time.
    """

    fixed: NDArray[np.float64]
    one_sided: NDArray[np.float64]
    anytime: NDArray[np.float64]
    blocks: int
    reason: str | None
    anytime_reason: str | None
    are_drives: bool = False

    @property
    def unit(self) -> str:
        """What was resampled, in words."""
        return "drives" if self.are_drives else "blocks of time"


def find_bounds(
    held: TimeBlocks, statistics: Statistics, resampling: Resampling, limits: tuple[float, float]
) -> Bounds:
    """Return the bounds of statistics.

    Args:
        held: blocks of the stream, or drives. Drives are independent, so they are neither paired
            nor is the interval widened (the cluster bootstrap: Davison and Hinkley, Bootstrap
            Methods and their Application, 1997, section 3.8), and no moment comes after another.
        statistics: what to bound.
        resampling: how.
        limits: least and greatest value that a statistic can have.
    """
    width = len(statistics.values(held.counts.sum(axis=0).astype(np.float64)))
    nothing = np.full((width, 2), np.nan)
    if len(held) < MIN_BLOCKS:
        reason = _too_few("an interval needs", MIN_BLOCKS, held)
        return Bounds(nothing, nothing, nothing, len(held), reason, reason)
    blocks = held
    if not held.are_drives:
        blocks = decorrelated(held, statistics.terms, lambda each: _speaking(statistics, each))
    # float64 sums of integers are exact to 2^53: the result is the same on every machine.
    counts = blocks.counts.astype(np.float64)
    estimate = statistics.values(counts.sum(axis=0))[:, np.newaxis]
    replicates = np.sort(_replicate(counts, statistics, resampling).T, axis=1)
    speaking = statistics.occurs(blocks.counts).sum(axis=0)
    # That which leaves twice as much out leaves as much out at either end alone.
    confidences = (resampling.confidence, 2 * resampling.confidence - 1)
    found = [_percentiles(replicates, speaking, each) for each in confidences]
    if held.are_drives:
        fixed, one_sided = (np.clip(each, *limits) for each in found)
        return Bounds(fixed, one_sided, nothing, len(blocks), None, _NO_MOMENTS, are_drives=True)
    wide = widening(statistics.terms(counts))[:, np.newaxis]
    fixed, one_sided = (np.clip(estimate + (each - estimate) * wide, *limits) for each in found)
    anytime_bounds, anytime_reason = find_anytime(held, statistics, resampling.confidence, limits)
    return Bounds(fixed, one_sided, anytime_bounds, len(blocks), None, anytime_reason)


def _speaking(statistics: Statistics, blocks: TimeBlocks) -> int:
    """Return how many blocks say something of the first statistic."""
    return int(statistics.occurs(blocks.counts)[:, 0].sum())


def find_anytime(
    held: TimeBlocks, statistics: Statistics, confidence: float, limits: tuple[float, float]
) -> tuple[NDArray[np.float64], str | None]:
    """Return the bounds that hold at every moment, (m, 2) float64, and why there are none.

    Costs far less than `find_bounds`, as nothing is resampled.

    Args:
        held: blocks of time of the stream.
        statistics: what to bound.
        confidence: share of streams in which the bounds hold at every moment.
        limits: least and greatest value that a statistic can have.
    """
    longest = held.longest(anytime.MIN_BLOCKS)
    counts = longest.counts.astype(np.float64)
    estimate = statistics.values(counts.sum(axis=0))[:, np.newaxis]
    if len(longest) < anytime.MIN_BLOCKS:
        reason = _too_few("anytime bounds need", anytime.MIN_BLOCKS, longest)
        return np.full((len(estimate), 2), np.nan), reason
    terms = statistics.terms(counts)
    radius = anytime.anytime_radius(terms, longest.observed_s, confidence)
    radius[statistics.occurs(longest.counts).sum(axis=0) < anytime.MIN_BLOCKS] = np.nan
    return np.clip(estimate + radius[:, np.newaxis] * (-1.0, 1.0), *limits), None


def _too_few(what: str, needed: int, blocks: TimeBlocks) -> str:
    return (
        f"{what} {needed} blocks of {blocks.block_ns / _NS:g} s with labelled frames, "
        f"but there are {len(blocks)}"
    )


def _replicate(
    counts: NDArray[np.float64], statistics: Statistics, resampling: Resampling
) -> NDArray[np.float64]:
    """Return the (replicates, m) statistics of resampled streams of (k, s) counts of blocks."""
    random = np.random.default_rng(resampling.seed)
    parts = []
    # A few at a time, because threads that resample in turns each keep what one has needed.
    for first in range(0, resampling.replicates, _AT_A_TIME):
        times = _draw(random, min(_AT_A_TIME, resampling.replicates - first), len(counts))
        # Not `@`: its library's threads spin for a tenth of a second after each such product.
        parts.append(statistics.values(np.einsum("rb,b...->r...", times, counts)))
    return np.concatenate(parts)


def _draw(random: np.random.Generator, replicates: int, blocks: int) -> NDArray[np.float64]:
    """Return (replicates, blocks) float64: how often each replicate drew each block."""
    drawn = random.integers(blocks, size=(replicates, blocks))
    drawn += np.arange(replicates)[:, np.newaxis] * blocks
    times = np.bincount(drawn.reshape(-1), minlength=drawn.size)
    return times.reshape(replicates, blocks).astype(np.float64)


def _percentiles(
    ascending: NDArray[np.float64], blocks: NDArray[np.int64], confidence: float
) -> NDArray[np.float64]:
    """Return the expanded percentile intervals of (m, replicates) sorted statistics as (m, 2).

    NaN replicates are left out: those without a pixel of a class have no IoU of it. A
    statistic that fewer than `MIN_BLOCKS` of the ``blocks`` define has no interval.
    """
    bounds = np.full((len(blocks), 2), np.nan)
    for k, size in enumerate(blocks):
        last = np.count_nonzero(~np.isnan(ascending[k])) - 1
        if size < MIN_BLOCKS or last < 0:
            continue
        level = _expanded_level(int(size), confidence)
        bounds[k] = np.interp(
            (level * last, (1 - level) * last), np.arange(last + 1), ascending[k, : last + 1]
        )
    return bounds


@functools.lru_cache(maxsize=128)
def _expanded_level(blocks: int, confidence: float) -> float:
    """Return the lower percentile's level for a number of blocks."""
    t = _student_t((1 + confidence) / 2, blocks - 1)
    return NormalDist().cdf(-t * math.sqrt(blocks / (blocks - 1)))


def _student_t(p: float, freedom: int) -> float:
    """Return a quantile of Student's t (Abramowitz and Stegun 26.7.5, four terms)."""
    z = NormalDist().inv_cdf(p)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**k for k, term in enumerate(terms))
