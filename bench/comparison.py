"""False alarms and power of ``deeplab-miou compare``, by simulation with known truth.

Two networks see the same streams: what makes a frame hard is shared, and each errs in its own way
besides. Equal networks should seem to differ in at most 5 of 100 streams; how often a difference
that is there is found is the power. Streams are at 10 Hz, eight classes, with AR(1) qualities.

    python bench/comparison.py [--streams 400]

With ``--watched``, somebody looks again and again and stops as soon as it seems decided: every
second by the bounds that hold at every moment, as `miou_comparer` does, and every ten by the 95 %
interval.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from machine import describe
from simulation import CLASSES, PIXELS, QUALITY, ar1

from deeplab_miou.comparison.difference import (
    compare,
    compare_blocks,
    decide,
    paired_blocks,
)
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


def watch(tables: list[FrameTable]) -> tuple[str, int, bool]:
    """Return what is decided and when, seconds, and whether the 95 % interval ever excludes 0."""
    by_second = np.stack([table.overlaps for table in tables], axis=1)
    by_second = by_second.reshape(-1, RATE_HZ, *by_second.shape[1:]).sum(axis=1)
    blocks = paired_blocks(CLASSES)
    decision, decided_s, is_fooled = "no evidence", 0, False
    for second, counts in enumerate(by_second, 1):
        blocks.add([(counts, (second - 1) * 1_000_000_000)])
        if decision == "no evidence":
            decision, decided_s = decide(blocks.read(), margin=MARGIN), second
        if not is_fooled and second % 10 == 0:
            verdict = compare_blocks(blocks.read(), margin=MARGIN).verdict()
            is_fooled = verdict in {"better", "worse"}
        if decision != "no evidence" and is_fooled:
            break
    return decision, decided_s, is_fooled


def watched_row(correlation_s: float, gain: float, streams: int) -> str:
    """Return the row of streams of ten minutes that are watched."""
    random = np.random.default_rng([7, round(10 * correlation_s), round(1000 * gain)])
    found = [watch(make_tables(random, 600, correlation_s, gain)) for _ in range(streams)]
    names = ("better", "worse", "equivalent", "no evidence")
    shares = (sum(each[0] == name for each in found) / streams for name in names)
    times = [each[1] for each in found if each[0] != "no evidence"]
    median = f"{np.median(times):.0f} s" if times else "-"
    return (
        f"| {correlation_s:g} s | {gain:g} | {' | '.join(f'{each:.3f}' for each in shares)} "
        f"| {median} | {sum(each[2] for each in found) / streams:.3f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="False alarms and power of comparisons.")
    parser.add_argument("--streams", type=int, default=400, help="streams a row")
    parser.add_argument("--watched", action="store_true", help="stop as soon as it seems decided")
    arguments = parser.parse_args()
    streams = arguments.streams
    print(describe() + "\n")
    if arguments.watched:
        print(
            "| correlation time | true difference | decided: better | worse | equivalent "
            "| not decided | median time | 95 % interval ever excludes 0 |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for gain in GAINS:
            for correlation_s in (0.5, 3.0):
                print(watched_row(correlation_s, gain, streams), flush=True)
        return
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
