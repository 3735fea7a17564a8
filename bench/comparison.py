"""False alarms and power of ``deeplab-miou compare``, by simulation with known truth.

Two networks see the same streams: what makes a frame hard is shared, and each errs in its own way
besides. Equal networks should seem to differ in at most 5 of 100 streams; how often a difference
that is there is found is the power. Streams are at 10 Hz, eight classes, with AR(1) qualities.

    python bench/comparison.py [--streams 400]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from machine import describe
from simulation import CLASSES, PIXELS, QUALITY, ar1

from deeplab_miou.comparison.difference import compare
from deeplab_miou.report.frame_table import FrameTable

RATE_HZ = 10
MARGIN = 0.005
SHARED, OWN = 0.5, 0.15  # standard deviations of what both networks share and of each one's own
STREAMS = ((60, 0.5), (60, 3.0), (600, 0.5), (600, 3.0))
GAINS = (0.0, 0.005, 0.01, 0.02)


def slope() -> float:
    """Return by how much mIoU rises with the logit, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    iou = 1 / (1 + np.exp(-(QUALITY[:, np.newaxis] + math.hypot(SHARED, OWN) * nodes)))
    return float(((iou * (1 - iou)) @ weights / weights.sum()).mean())


def make_tables(
    random: np.random.Generator, seconds: int, correlation_s: float, gain: float
) -> list[FrameTable]:
    """Return the frames of two networks, the second better by about ``gain`` of mIoU."""
    frames = seconds * RATE_HZ
    phi = math.exp(-1 / RATE_HZ / correlation_s)
    shared = QUALITY[:, np.newaxis] + SHARED * ar1(random, (CLASSES, frames), phi)
    labelled = np.exp(0.5 * ar1(random, (CLASSES, frames), phi)) * PIXELS[:, np.newaxis]
    stamps = np.arange(frames, dtype=np.int64) * (1_000_000_000 // RATE_HZ)
    names = tuple(map(str, range(CLASSES)))
    tables = []
    for better in (0.0, gain / slope()):
        quality = shared + better + OWN * ar1(random, (CLASSES, frames), phi)
        right = labelled / (1 + np.exp(-quality))
        counts = np.stack((right, np.zeros_like(right), labelled - right), axis=1)
        whole = np.rint(counts).astype(np.int64)
        # The ground truth is the same for both, to the pixel.
        whole[:, 2] = np.rint(labelled).astype(np.int64) - whole[:, 0]
        tables.append(FrameTable(names, stamps, whole.transpose(2, 1, 0)))
    return tables


def row(seconds: int, correlation_s: float, gain: float, streams: int) -> str:
    """Return the table's row."""
    random = np.random.default_rng([seconds, round(10 * correlation_s), round(1000 * gain)])
    verdicts = dict.fromkeys(("better", "worse", "equivalent", "no evidence"), 0)
    class_alarms = np.zeros(CLASSES)
    anytime = width = 0.0
    for _ in range(streams):
        found = compare(*make_tables(random, seconds, correlation_s, gain), margin=MARGIN)
        verdicts[found.verdict()] += 1
        class_alarms += [found.verdict(1 + c) in {"better", "worse"} for c in range(CLASSES)]
        lower, upper = found.bounds.anytime[0]
        anytime += lower > 0 or upper < 0
        width += float(np.ptp(found.bounds.fixed[0]))
    shares = " | ".join(f"{count / streams:.3f}" for count in verdicts.values())
    return (
        f"| {seconds} s | {correlation_s:g} s | {gain:g} | {shares} | {anytime / streams:.3f} "
        f"| {class_alarms.min() / streams:.3f}-{class_alarms.max() / streams:.3f} "
        f"| {width / streams:.4f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="False alarms and power of comparisons.")
    parser.add_argument("--streams", type=int, default=400, help="streams a row")
    streams = parser.parse_args().streams
    print(describe() + "\n")
    print(
        "| stream | correlation time | true difference | better | worse | equivalent "
        "| no evidence | anytime bounds exclude 0 | classes that seem to differ | mean width |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for seconds, correlation_s in STREAMS:
        for gain in GAINS:
            print(row(seconds, correlation_s, gain, streams), flush=True)


if __name__ == "__main__":
    main()
