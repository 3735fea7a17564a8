"""Simulated streams: what the benchmarks of intervals and comparisons share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CLASSES = 8
QUALITY = np.linspace(-0.5, 2.5, CLASSES)  # logit of each class's typical IoU
PIXELS = np.geomspace(2e5, 2e3, CLASSES)

Floats = NDArray[np.float64]


def ar1(random: np.random.Generator, shape: tuple[int, ...], phi: float) -> Floats:
    """Return AR(1) processes along the last axis, mean 0 and variance 1, stationary throughout."""
    noise = random.standard_normal(shape)
    noise[..., 1:] *= math.sqrt(1 - phi * phi)
    for t in range(1, shape[-1]):
        noise[..., t] += phi * noise[..., t - 1]
    return noise
