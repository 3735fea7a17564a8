"""What differs in a region is said with the bounds that were found, be they symmetric or not."""

from types import SimpleNamespace

import numpy as np

from deeplab_miou.aggregation.results import Result, Totals
from deeplab_miou.metric.counts import Axes
from deeplab_miou.metric.region_scores import Contrast
from deeplab_miou.metric.scores import Scores
from deeplab_miou.report.region_table import region_sentences
from deeplab_miou.report.wording import depth_line, interval_notes


def sentences(inside, outside, bounds):
    found = Contrast(np.array(inside), np.array(outside), np.array(bounds))
    totals = Totals.zero(Axes(("road", "car", "pole")))
    result = Result(totals, Scores.none(), contrasts=lambda: {"far": found})
    return region_sentences(result)


def test_bounds_are_those_that_were_found():
    assert sentences(
        [0.70, 0.9, 0.87, 0.50],
        [0.80, 0.9, 0.95, 0.30],
        [[-0.15, -0.05], [-0.1, 0.1], [-0.37, -0.01], [0.12, 0.30]],
    ) == [
        "mIoU is 0.10 worse in far than elsewhere (0.70 against 0.80; 95 % 0.05 to 0.15)",
        "pole is 0.20 better in far than elsewhere (0.50 against 0.30; 95 % 0.12 to 0.30)",
        "car is 0.08 worse in far than elsewhere (0.87 against 0.95; 95 % 0.01 to 0.37)",
    ]


def test_what_may_be_chance_is_not_said():
    assert sentences([0.5] * 4, [0.6] * 4, [[-0.3, 0.1]] * 3 + [[np.nan, np.nan]]) == []


def test_parts_without_an_interval_are_told_by_their_reasons():
    reasons = {"near": "few", "far": None, "lane": "none of it", "edges": "few"}
    named = [
        (name, SimpleNamespace(intervals=SimpleNamespace(reason=why)))
        for name, why in reasons.items()
    ]
    assert interval_notes([*named, ("window", SimpleNamespace(intervals=None))]) == [
        "no interval for near, edges: few",
        "no interval for lane: none of it",
    ]


def test_depth_is_told_with_all_its_counts():
    counts = {
        "frames_without_depth": 3,
        "frames_with_unusable_depth": 2,
        "pixels_without_depth": 1234,
        "pixels_missing_depth": 5678,
        "pixels_outside_depth": 9,
    }
    assert depth_line(10, counts) == (
        "depth: of 10 frames 3 have no depth image and 2 one that cannot be used (1,234 labelled "
        "pixels); in the others 5,678 labelled pixels have no depth, and 9 lie outside all bands"
    )
