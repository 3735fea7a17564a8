"""Coverage of 95 % intervals over many drives, by simulation with known truth.

Each drive has a quality of its own, as weather and town would give it, around which that of its
frames varies from second to second (AR(1)). The truth is that of all drives that there could be.

    python bench/drives_coverage.py [--sets 500]
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import numpy as np
from machine import describe
from simulation import CLASSES, PIXELS, QUALITY, Floats, ar1

from deeplab_miou.metric.bootstrap import IouStatistics, find_intervals
from deeplab_miou.metric.drives import DriveSums
from deeplab_miou.metric.resampling import Resampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 2
CORRELATION_S = 1.0
MEDIAN_S = 60
DRIVES = (8, 15, 16, 32, 64)
BETWEEN, WITHIN = 0.4, 0.5  # standard deviations of the logit, of each class by itself
LENGTHS = (0.0, 0.5, 1.0)  # standard deviation of the logarithm of a drive's length


def true_iou() -> Floats:
    """Return (classes,) true IoU, by Gauss-Hermite quadrature; lengths do not matter to it."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    logit = QUALITY[:, np.newaxis] + math.hypot(BETWEEN, WITHIN) * nodes
    found: Floats = (1 / (1 + np.exp(-logit))) @ weights / weights.sum()
    return found


def drive(random: np.random.Generator, spread: float) -> NDArray[np.int64]:
    """Return (frames, 2, classes) int64: intersection and union of each class."""
    frames = max(round(RATE_HZ * MEDIAN_S * math.exp(spread * random.standard_normal())), 2)
    phi = math.exp(-1 / RATE_HZ / CORRELATION_S)
    quality = QUALITY[:, np.newaxis] + BETWEEN * random.standard_normal((CLASSES, 1))
    quality = quality + WITHIN * ar1(random, (CLASSES, frames), phi)
    union = np.repeat(PIXELS[:, np.newaxis], frames, axis=1)
    counts = np.stack((union / (1 + np.exp(-quality)), union))
    whole: NDArray[np.int64] = np.rint(counts).astype(np.int64).transpose(2, 0, 1)
    return whole


def row(drives: int, spread: float, sets: int) -> str:
    """Return the table's row."""
    iou, statistics = true_iou(), IouStatistics(np.ones(CLASSES), "exclude")
    random = np.random.default_rng([drives, round(10 * spread)])
    held, class_held, width, unit = 0, np.zeros(CLASSES), 0.0, ""
    for _ in range(sets):
        sums = DriveSums((2, CLASSES))
        for _ in range(drives):
            counts = drive(random, spread)
            sums.add(counts, np.arange(len(counts)) * (1_000_000_000 // RATE_HZ))
        found = find_intervals(sums.read(), statistics, Resampling(400))
        unit = found.unit
        held += found.miou[0] <= iou.mean() <= found.miou[1]
        class_held += (found.iou[:, 0] <= iou) & (iou <= found.iou[:, 1])
        width += found.miou[1] - found.miou[0]
    low, high = class_held.min() / sets, class_held.max() / sets
    return (
        f"| {drives} | {spread:g} | {unit} | {held / sets:.3f} | {low:.3f}-{high:.3f} "
        f"| {width / sets:.4f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of intervals over many drives.")
    parser.add_argument("--sets", type=int, default=500, help="sets of drives a row")
    sets = parser.parse_args().sets
    print(describe() + "\n")
    print(
        "| drives | spread of lengths | resampled | coverage, mIoU | coverage, IoU | mean width |"
    )
    print("|---|---|---|---|---|---|")
    for spread in LENGTHS:
        for drives in DRIVES:
            print(row(drives, spread, sets), flush=True)


if __name__ == "__main__":
    main()
