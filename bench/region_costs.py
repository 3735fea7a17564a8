"""What regions cost: counting R of them against R plain counts and making their masks.

    python bench/metric.py --regions [--runs 25]

Each run takes one frame and times in turn, on that same frame, a plain count (`count`), the R
ground truths in which all else is ignored (`masks`), and what the evaluator does with regions
(`all`). The last column is the median over runs of ``all / (R * count + masks)``: 1 means that
regions cost no more than that. The row without regions times what they add to a frame when none is
declared.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.regions.contents import ObjectSize
from deeplab_miou.regions.regions import Border, DepthBand, Region, Regions
from deeplab_miou.regions.shapes import Polygon, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.regions.regions import Where

    Ids = NDArray[np.uint8]

_CLASSES, _IGNORE = 19, 255


def _regions(*where: Where) -> Regions:
    return Regions(tuple(Region(str(k), each) for k, each in enumerate(where)))


def _bands(count: int) -> list[Rows]:
    return [Rows(k / count, (k + 1) / count, fractions=True) for k in range(count)]


_LANE = Polygon(((0.4, 0.4), (0.6, 0.4), (1.0, 1.0), (0.0, 1.0)), fractions=True)
DECLARED = {
    "none": _regions(),
    "rows": _regions(*_bands(1)),
    "8 x rows": _regions(*_bands(8)),
    "polygon": _regions(_LANE),
    "border and interior": _regions(Border(3, interior=False), Border(3, interior=True)),
    "objects, 3 sizes": _regions(*ObjectSize),
    "3 bands of depth": _regions(DepthBand(0, 10), DepthBand(10, 30), DepthBand(30, np.inf)),
}


def measure(
    regions: Regions, frames: Sequence[tuple[Ids, Ids]], runs: int
) -> list[tuple[float, float, float]]:
    """Return the seconds of a plain count, of all masks, and of regions as they are counted."""
    height, width = frames[0][0].shape
    depth = np.geomspace(60, 2, height, dtype=np.float32)[:, np.newaxis].repeat(width, 1)
    found = []
    for run in range(runs + 1):
        truth, prediction = frames[run % len(frames)]
        times = []
        truths: list[Ids] = []
        counts: NDArray[np.int64] = np.zeros(0, np.int64)
        for step in range(3):
            start = time.perf_counter()
            if step == 0:
                confusion_matrix(truth, prediction, _CLASSES, _IGNORE)
            elif step == 1:
                truths = list(regions.ground_truths(truth, _IGNORE, depth))
            else:
                scored = regions.without_ignored(truth, _IGNORE)
                if regions.scored:
                    counts = regions.count(scored, prediction, _CLASSES, _IGNORE, depth)
            times.append(time.perf_counter() - start)
        expected = [confusion_matrix(each, prediction, _CLASSES, _IGNORE) for each in truths]
        assert not expected or np.array_equal(counts, expected)
        found.append((times[0], times[1], times[2]))
    # Shapes are drawn for the first frame only.
    return found[1:]


def print_costs(kinds: dict[str, Sequence[tuple[Ids, Ids]]], runs: int) -> None:
    """Print a table row for each kind of region and of frames.

    Args:
        kinds: frames of ground truth and prediction by what they are called.
        runs: of each.
    """
    print("| labels | regions | R | count ms | masks ms | all ms | of R counts and masks |")
    print("|---|---|---|---|---|---|---|")
    for kind, frames in kinds.items():
        for name, regions in DECLARED.items():
            times = measure(regions, frames, runs)
            number = len(regions.scored)
            count, masks, everything = (
                statistics.median(column) for column in zip(*times, strict=True)
            )
            ratio = statistics.median(
                all_s / (number * count_s + masks_s) for count_s, masks_s, all_s in times
            )
            told = f"{ratio:.2f}" if number else f"{everything / count:.3f} of a count"
            print(
                f"| {kind} | {name} | {number} | {1e3 * count:.2f} | {1e3 * masks:.2f} "
                f"| {1e3 * everything:.3f} | {told} |",
                flush=True,
            )
