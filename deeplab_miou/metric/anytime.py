"""Bounds that hold at every moment of a stream at once, however often you look.

A 95 % interval is valid for one look. If you watch it until it excludes something, you are wrong
in far more than 5 % of cases. A confidence sequence contains the truth at all times at once: here
the asymptotic one of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-uniform central limit
theory and asymptotic confidence sequences, Annals of Statistics 2024, theorem 2.2), which Robbins'
normal mixture gives, over the linearised values of blocks of time.

It holds once the variance is known well enough. So it uses the longest blocks of which there are
at least 16, the upper 90 % bound of their variance, and an allowance for what correlation is left
between neighbours. `bench/bootstrap_coverage.py --anytime` shows how often each kind of interval is
ever wrong.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.blocks import widening

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_BLOCKS = 16
# The sequence is tightest for a stream of about this length.
TIGHTEST_S = 300.0
_VARIANCE_LEVEL = 0.9
# One unlucky estimate of the correlation is enough to be wrong at some moment.
_CAUTION = 3.0


def anytime_radius(
    terms: NDArray[np.float64], observed_s: float, confidence: float = 0.95
) -> NDArray[np.float64]:
    """Return half the width of the anytime-valid interval of each statistic.

    Args:
        terms: (k, m) first-order terms of m statistics in the k longest blocks of which there are
            16, see `deeplab_miou.metric.blocks`.
        observed_s: time that the blocks cover, seconds.
        confidence: share of streams in which the bounds hold at every moment.

    Returns:
        (m,) float64; NaN while there are fewer than 16 blocks.
    """
    size = len(terms)
    if size < MIN_BLOCKS:
        return np.full(terms.shape[1], math.nan)
    variance = (terms**2).sum(axis=0) * size / (size - 1) * _variance_bound(size)
    radius: NDArray[np.float64] = np.sqrt(variance) * widening(terms, _CAUTION)
    return radius * _boundary(observed_s, 1 - confidence)


def _boundary(elapsed_s: float, alpha: float) -> float:
    """Return by how many standard errors the estimate may be off, at this time and all others."""
    # The rho that makes the bound tightest at TIGHTEST_S (ibid., appendix B.2).
    tuned = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    elapsed = tuned * elapsed_s / TIGHTEST_S
    return math.sqrt(2 * (1 + 1 / elapsed) * math.log(math.sqrt(elapsed + 1) / alpha))


def _variance_bound(size: int) -> float:
    """Return the upper bound of a variance estimated from this many values, relative to it.

    Chi-squared by Wilson and Hilferty's approximation (PNAS 1931), which is within 1 % here.
    """
    freedom = size - 1
    spread = 2 / (9 * freedom)
    quantile = 1 - spread + NormalDist().inv_cdf(1 - _VARIANCE_LEVEL) * math.sqrt(spread)
    return 1 / quantile**3
