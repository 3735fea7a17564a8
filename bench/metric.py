"""Speed of the confusion matrix against other libraries' and against reading the images once.

All methods count the same frames in turn, and each must give the same counts. There are more
frames than caches hold, as in a stream. Ratios compare medians; "two threads" is their throughput
over that of one.

    python bench/metric.py [--runs 25] [--regions]

Needs the test requirements; Cityscapes' Cython evaluation takes part where it is installed
(``CYTHONIZE_EVAL=1 pip install cython cityscapesscripts``).
"""

from __future__ import annotations

import argparse
import math
import statistics
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numba
import numpy as np
import torch
from machine import describe
from region_costs import print_costs
from torchmetrics.classification import MulticlassJaccardIndex

from deeplab_miou.metric.confusion import confusion_matrix, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    Ids: TypeAlias = NDArray[np.uint8]
    Method: TypeAlias = Callable[[Ids, Ids], Any]

try:
    from cityscapesscripts.evaluation.addToConfusionMatrix import (  # type: ignore[import-not-found]
        cEvaluatePair,
    )
except ImportError:
    cEvaluatePair = None  # noqa: N816 - its name there

SIZES = ((480, 640), (1024, 2048))
CLASSES = (19, 150)
IGNORE = 255
IGNORED = 0.1
STREAM_BYTES = 96 * 2**20  # three times a common last-level cache
DISTINCT = 4
THREADED_S = 0.02  # work of each thread in a two-thread run


def coherent(random: np.random.Generator, size: tuple[int, int], n: int) -> tuple[Ids, Ids]:
    """Return wavy regions tens of pixels wide, and the same displaced as the prediction."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width]
    row = (y + 6 * np.sin(x / 23)).astype(int) % height // 32
    column = (x + 6 * np.sin(y / 17)).astype(int) % width // 32
    regions = random.integers(0, n, (height // 32 + 1, width // 32 + 1), dtype=np.uint8)
    ground_truth = regions[row, column]
    prediction = np.roll(ground_truth, (1, 2), axis=(0, 1))
    blank = random.random((height // 64 + 1, width // 64 + 1)) < IGNORED
    ground_truth[blank[y // 64, x // 64]] = IGNORE
    return ground_truth, prediction


def noise(random: np.random.Generator, size: tuple[int, int], n: int) -> tuple[Ids, Ids]:
    """Return two maps of independent pixels: nothing to gain from neighbours."""
    ground_truth = random.integers(0, n, size, dtype=np.uint8)
    ground_truth[random.random(size) < IGNORED] = IGNORE
    return ground_truth, random.integers(0, n, size, dtype=np.uint8)


def numpy_bincount(n: int) -> Method:
    """Return the usual NumPy line, in int64 as it must be beyond 15 classes."""

    def count(ground_truth: Ids, prediction: Ids) -> NDArray[np.int64]:
        valid = ground_truth != IGNORE
        pairs = ground_truth[valid].astype(np.int64) * n + prediction[valid]
        return np.bincount(pairs, minlength=n * n).reshape(n, n)

    return count


def torchmetrics_jaccard(n: int) -> Method:
    """Return an update of torchmetrics' pooled Jaccard index as users set it up."""
    local = threading.local()

    def count(ground_truth: Ids, prediction: Ids) -> Any:  # noqa: ANN401
        if not hasattr(local, "metric"):
            local.metric = MulticlassJaccardIndex(n, ignore_index=IGNORE)
        local.metric.reset()
        local.metric.update(torch.from_numpy(prediction), torch.from_numpy(ground_truth))
        return local.metric.confmat

    return count


def histc(n: int) -> Method:
    """Return areas of intersection and union by three float histograms, as mmsegmentation does."""

    def count(ground_truth: Ids, prediction: Ids) -> tuple[torch.Tensor, torch.Tensor]:
        truth, predicted = torch.from_numpy(ground_truth), torch.from_numpy(prediction)
        valid = truth != IGNORE
        truth, predicted = truth[valid], predicted[valid]
        areas = [
            torch.histc(ids.float(), bins=n, min=0, max=n - 1)
            for ids in (predicted[predicted == truth], predicted, truth)
        ]
        return areas[0], areas[1] + areas[2] - areas[0]

    return count


def calc_hist(n: int) -> Method:
    """Return OpenCV's joint histogram of all 256 x 256 id pairs, cut to the classes."""

    def count(ground_truth: Ids, prediction: Ids) -> NDArray[Any]:
        ranges = [0, 256, 0, 256]
        return cv2.calcHist([ground_truth, prediction], [0, 1], None, [256, 256], ranges)[:n, :n]

    return count


def cityscapes_cython(n: int) -> Method:
    """Return the official evaluation's Cython loop."""

    def count(ground_truth: Ids, prediction: Ids) -> Any:  # noqa: ANN401
        table = np.zeros((256, 256), np.ulonglong)
        labels = [*range(n), IGNORE]
        return cEvaluatePair(prediction, ground_truth, table, labels)[:n, :n]

    return count


def ours(n: int) -> Method:
    """Return this package's counting."""

    def count(ground_truth: Ids, prediction: Ids) -> NDArray[np.int64]:
        return confusion_matrix(ground_truth, prediction, n)

    return count


def _read(ground_truth: NDArray[np.uint64], prediction: NDArray[np.uint64]) -> np.uint64:
    total = np.uint64(0)
    for i in range(ground_truth.size):
        total ^= ground_truth[i] ^ prediction[i]
    return total


def read_once(_: int) -> Method:
    """Return the floor: both arrays loaded once in vector instructions and combined by XOR."""
    compiled = numba.njit(nogil=True)(_read)

    def read(ground_truth: Ids, prediction: Ids) -> None:
        compiled(ground_truth.reshape(-1).view(np.uint64), prediction.reshape(-1).view(np.uint64))

    return read


METHODS: dict[str, Callable[[int], Method]] = {
    "deeplab_miou": ours,
    "NumPy bincount": numpy_bincount,
    "torchmetrics": torchmetrics_jaccard,
    "torch.histc": histc,
    "cv2.calcHist": calc_hist,
    "read both once": read_once,
}
if cEvaluatePair is not None:
    METHODS["Cityscapes Cython"] = cityscapes_cython


def agree(name: str, found: Any, expected: NDArray[np.int64]) -> None:  # noqa: ANN401
    """Assert that a method counted what the others counted."""
    if name == "read both once":
        return
    if name == "torch.histc":
        intersection, union = (area.numpy() for area in found)
        assert (intersection == expected.diagonal()).all()
        both = expected.sum(axis=0) + expected.sum(axis=1)
        assert (union == both - expected.diagonal()).all()
        return
    counts = np.asarray(found)
    assert (counts[:, : len(expected)] == expected).all(), name


def threaded(pool: ThreadPoolExecutor, count: Method, frames: list[Any], repeats: int) -> float:
    """Return the seconds that two threads take to count ``repeats`` frames each."""
    barrier = threading.Barrier(3)

    def work(offset: int) -> None:
        barrier.wait()
        for k in range(repeats):
            count(*frames[(offset + k) % len(frames)])
        barrier.wait()

    futures = [pool.submit(work, offset) for offset in (0, len(frames) // 2)]
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    elapsed = time.perf_counter() - start
    for future in futures:
        future.result()
    return elapsed


def measure(
    frames: list[Any], n: int, runs: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return each method's seconds a frame, and how much faster two threads are than one."""
    methods = {name: make(n) for name, make in METHODS.items()}
    expected = numpy_bincount(n)(*frames[0])
    for name, count in methods.items():
        agree(name, count(*frames[0]), expected)
    single: dict[str, list[float]] = {name: [] for name in methods}
    gain: dict[str, list[float]] = {name: [] for name in methods}
    turn = 0
    with ThreadPoolExecutor(2) as pool:
        for run in range(runs):
            for name, count in methods.items():
                # As in a stream, the same code has just counted the frame before.
                turn += 2
                count(*frames[(turn - 1) % len(frames)])
                start = time.perf_counter()
                count(*frames[turn % len(frames)])
                single[name].append(time.perf_counter() - start)
            if run % 3:
                continue
            for name, count in methods.items():
                repeats = max(1, math.ceil(THREADED_S / min(single[name])))
                start = time.perf_counter()
                for k in range(repeats):
                    count(*frames[k % len(frames)])
                alone = time.perf_counter() - start
                gain[name].append(2 * alone / threaded(pool, count, frames, repeats))
    return single, gain


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Speed of the confusion matrix.")
    parser.add_argument("--runs", type=int, default=25, help="interleaved runs of each method")
    parser.add_argument("--regions", action="store_true", help="what regions cost instead")
    arguments = parser.parse_args()
    runs = arguments.runs
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warm_up()
    random = np.random.default_rng(0)
    print(describe() + "\n")
    if arguments.regions:
        print_costs(
            {
                f"{size[0]}x{size[1]}, {kind.__name__}": [kind(random, size, 19) for _ in range(8)]
                for size in SIZES
                for kind in (coherent, noise)
            },
            runs,
        )
        return
    print(
        "| labels | method | min ms | median ms | x NumPy | x torchmetrics | of reading |", end=""
    )
    print(" two threads |")
    print("|---|---|---|---|---|---|---|---|")
    for size in SIZES:
        for n in CLASSES:
            for kind in (coherent, noise):
                distinct = [kind(random, size, n) for _ in range(DISTINCT)]
                copies = math.ceil(STREAM_BYTES / (2 * size[0] * size[1] * DISTINCT))
                frames = [(g.copy(), p.copy()) for _ in range(copies) for g, p in distinct]
                single, gain = measure(frames, n, runs)
                median = {name: statistics.median(times) for name, times in single.items()}
                for name, times in single.items():
                    print(
                        f"| {size[0]}x{size[1]}, {n}, {kind.__name__} | {name} "
                        f"| {1e3 * min(times):.2f} | {1e3 * median[name]:.2f} "
                        f"| {median['NumPy bincount'] / median[name]:.1f} "
                        f"| {median['torchmetrics'] / median[name]:.1f} "
                        f"| {median[name] / median['read both once']:.1f} "
                        f"| {statistics.median(gain[name]):.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
