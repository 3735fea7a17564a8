"""Coverage of the bootstrap's 95 % intervals, by simulation with known truth.

Streams of frames at 30 Hz whose quality follows AR(1) processes: one that all classes share, as
weather and light would, and one a class; class sizes vary likewise. The true IoU of a class is the
ratio of its expected intersection and union, which no finite stream shows exactly. An interval of
95 % should hold the truth in 95 of 100 streams, whatever the correlation.

    python bench/bootstrap_coverage.py [--streams 500]
    python bench/bootstrap_coverage.py --anytime    how often an interval is wrong at some look
    python bench/bootstrap_coverage.py --cost       what it costs to add frames, to read intervals
"""

from __future__ import annotations

import argparse
import math
import time
from typing import TYPE_CHECKING

import numpy as np
from machine import describe
from numpy.typing import NDArray
from simulation import CLASSES, PIXELS, QUALITY, Floats, ar1

from deeplab_miou.metric.bootstrap import BlockBootstrap, Intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

Counts = NDArray[np.int64]

RATE_HZ = 30
SECONDS = (30, 60, 300, 1200)
PHI = (0.8, 0.9, 0.95, 0.98)  # correlation of one frame with the next
SHARED, OWN, SIZE = 0.5, 0.4, 0.5  # standard deviations: shared and own quality, log of size
BATCH = 20
HOUR_S = 3600
LOOKS = 60
FRAME_REPLICATES = 200


def true_iou() -> Floats:
    """Return (classes,) true IoU, by Gauss-Hermite quadrature; size is independent of quality."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    logit = QUALITY[:, np.newaxis] + math.hypot(SHARED, OWN) * nodes
    found: Floats = (1 / (1 + np.exp(-logit))) @ weights / weights.sum()
    return found


def make_streams(random: np.random.Generator, count: int, frames: int, phi: float) -> Counts:
    """Return (count, frames, 2, classes) int64: intersection and union of each class."""
    quality = SHARED * ar1(random, (count, 1, frames), phi)
    quality = quality + OWN * ar1(random, (count, CLASSES, frames), phi)
    union = np.exp(SIZE * ar1(random, (count, CLASSES, frames), phi)) * PIXELS[:, np.newaxis]
    intersection = union / (1 + np.exp(-quality - QUALITY[:, np.newaxis]))
    counts = np.stack((intersection, union), axis=1)
    whole: Counts = np.rint(counts).astype(np.int64).transpose(0, 3, 1, 2)
    return whole


def matrix_of(counts: Counts) -> Counts:
    """Return a confusion matrix of these intersections and unions; misses count as invalid."""
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    np.fill_diagonal(matrix, counts[0])
    matrix[:, CLASSES] = counts[1] - counts[0]
    return matrix


def by_blocks(stream: Counts, seed: int) -> BlockBootstrap:
    """Return the package's bootstrap; the frames of a second fall into one block anyway."""
    bootstrap = BlockBootstrap(CLASSES, seed=seed)
    for second, counts in enumerate(stream.reshape(-1, RATE_HZ, 2, CLASSES).sum(axis=1)):
        bootstrap.update(matrix_of(counts), second * 1_000_000_000)
    return bootstrap


def by_frames(stream: Counts, drawn: Floats) -> tuple[float, float]:
    """Return the percentile interval of mIoU from resampling single frames."""
    resampled = drawn @ stream.reshape(len(stream), -1).astype(np.float64)
    intersection, union = np.split(resampled, 2, axis=1)
    lower, upper = np.quantile((intersection / union).mean(axis=1), [0.025, 0.975])
    return float(lower), float(upper)


def row(phi: float, seconds: int, streams: int) -> str:
    """Return the table's row of one correlation and stream length."""
    iou = true_iou()
    miou = iou.mean()
    random = np.random.default_rng([round(phi * 100), seconds])
    frames = seconds * RATE_HZ
    held = frame_held = blocks = 0
    class_held = np.zeros(CLASSES)
    width = 0.0
    for first in range(0, streams, BATCH):
        count = min(BATCH, streams - first)
        times = random.multinomial(frames, np.full(frames, 1 / frames), FRAME_REPLICATES)
        drawn = times.astype(np.float64)
        for k, stream in enumerate(make_streams(random, count, frames, phi)):
            found = by_blocks(stream, first + k).intervals()
            held += found.miou[0] <= miou <= found.miou[1]
            class_held += (found.iou[:, 0] <= iou) & (iou <= found.iou[:, 1])
            width += found.miou[1] - found.miou[0]
            blocks += found.blocks
            lower, upper = by_frames(stream, drawn)
            frame_held += lower <= miou <= upper
    correlation_s = -1 / RATE_HZ / math.log(phi)
    low, high = class_held.min() / streams, class_held.max() / streams
    return (
        f"| {seconds} s | {correlation_s:.2f} s | {seconds / correlation_s:.0f} "
        f"| {held / streams:.3f} | {low:.3f}-{high:.3f} "
        f"| {width / streams:.4f} | {blocks / streams:.0f} | {frame_held / streams:.3f} |"
    )


def looks() -> list[int]:
    """Return at which seconds of an hour one looks: ever more seldom, from ten seconds on."""
    return sorted({round(second) for second in np.geomspace(10, HOUR_S, LOOKS)})


def anytime_row(phi: float, streams: int) -> str:
    """Return the table's row of one correlation: streams of an hour, looked at again and again."""
    truth = np.concatenate(([true_iou().mean()], true_iou()))
    random = np.random.default_rng([round(phi * 100), HOUR_S])
    fixed: Floats = np.zeros(1 + CLASSES)
    anytime: Floats = np.zeros(1 + CLASSES)
    widths, began = [], []
    for _ in range(streams):
        found = list(watch(make_streams(random, 1, HOUR_S * RATE_HZ, phi)[0]))
        fixed += np.any([misses(each.miou, each.iou, truth) for _, each in found], axis=0)
        anytime += np.any(
            [misses(each.miou_anytime, each.iou_anytime, truth) for _, each in found], axis=0
        )
        began += [second for second, each in found if each.anytime_reason is None][:1]
        last = found[-1][1]
        widths.append([upper - lower for lower, upper in (last.miou, last.miou_anytime)])
    fixed, anytime = fixed / streams, anytime / streams
    fixed_width, anytime_width = np.mean(widths, axis=0)
    return (
        f"| {-1 / RATE_HZ / math.log(phi):.2f} s | {fixed[0]:.3f} | {anytime[0]:.3f} "
        f"| {fixed[1:].min():.3f}-{fixed[1:].max():.3f} "
        f"| {anytime[1:].min():.3f}-{anytime[1:].max():.3f} "
        f"| {fixed_width:.4f} | {anytime_width:.4f} | {np.median(began):.0f} s |"
    )


def watch(stream: Counts) -> Iterator[tuple[int, Intervals]]:
    """Look at the intervals of an hour's stream ever more seldom, from ten seconds on."""
    seconds = stream.reshape(HOUR_S, RATE_HZ, 2, CLASSES).sum(axis=1)
    bootstrap = BlockBootstrap(CLASSES, replicates=200)
    first = 0
    for last in sorted({round(second) for second in np.geomspace(10, HOUR_S, LOOKS)}):
        matrices = np.stack([matrix_of(counts) for counts in seconds[first:last]])
        bootstrap.update(matrices, [second * 1_000_000_000 for second in range(first, last)])
        first = last
        yield last, bootstrap.intervals()


def misses(miou: tuple[float, float], iou: Floats, truth: Floats) -> NDArray[np.bool_]:
    """Return whether the bounds of mIoU and of each class miss the truth."""
    lower, upper = np.vstack((miou, iou)).T
    missed: NDArray[np.bool_] = (lower > truth) | (truth > upper)
    return missed


def cost(classes: int) -> str:
    """Return what an hour at 30 Hz costs: a frame, alone or one of 64, and reading intervals."""
    random = np.random.default_rng(classes)
    matrices = random.integers(0, 1000, (64, classes, classes + 1))
    bootstrap = BlockBootstrap(classes)
    stamps = np.arange(3600 * RATE_HZ) * (1_000_000_000 // RATE_HZ)
    half = len(stamps) // 2
    began_s = time.perf_counter()
    for k, stamp in enumerate(stamps[:half].tolist()):
        bootstrap.update(matrices[k % 64], stamp)
    alone_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    for first in range(half, len(stamps), 64):
        given = stamps[first : first + 64].tolist()
        bootstrap.update(matrices[: len(given)], given)
    bulk_s = time.perf_counter() - began_s
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(20):
        bootstrap.intervals()
    wall_s = time.perf_counter() - wall_s
    time.sleep(0.3)  # threads that spin after the work would be seen here
    cpu_s = time.process_time() - cpu_s
    return (
        f"| {classes} | {1e6 * alone_s / half:.0f} | {1e6 * bulk_s / (len(stamps) - half):.0f} "
        f"| {1e3 * wall_s / 20:.1f} | {1e3 * cpu_s / 20:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of the bootstrap's intervals.")
    parser.add_argument("--streams", type=int, default=500, help="streams a row")
    parser.add_argument(
        "--anytime", action="store_true", help="watch streams of an hour instead of looking once"
    )
    parser.add_argument("--cost", action="store_true", help="time instead of coverage")
    options = parser.parse_args()
    streams = options.streams
    print(describe() + "\n")
    if options.cost:
        print("| classes | a frame (µs) | one of 64 (µs) | intervals (ms) | their CPU (ms) |")
        print("|---|---|---|---|---|")
        for classes in (19, 150):
            print(cost(classes), flush=True)
        return
    if options.anytime:
        print(
            "| correlation time | mIoU ever wrong, fixed | anytime | IoU ever wrong, fixed "
            "| anytime | width after an hour, fixed | anytime | begins after |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for phi in (*PHI, 0.99):
            print(anytime_row(phi, streams), flush=True)
        return
    print(
        "| stream | correlation time | length in such times | coverage, mIoU | coverage, IoU |",
        end="",
    )
    print(" mean width | blocks | coverage, frame by frame |")
    print("|---|---|---|---|---|---|---|---|")
    for phi in PHI:
        for seconds in SECONDS:
            print(row(phi, seconds, streams), flush=True)


if __name__ == "__main__":
    main()
