from __future__ import annotations

import math

import numpy as np

from deeplab_miou.metric.bootstrap import Timeline
from deeplab_miou.report.timeline_plot import plot_timeline

SECOND = 10**9


def timeline(miou, starts=None):
    starts = range(len(miou)) if starts is None else starts
    return Timeline(SECOND, np.array(starts, np.int64) * SECOND, np.array(miou, np.float64))


def test_a_drop_is_drawn_lower_and_marked():
    drawn = plot_timeline(timeline([0.9, 0.9, 0.5, 0.9, 0.91]), 0.82)
    heights = [point.y for point in drawn.points]
    assert max(heights) == heights[2]
    assert drawn.points[2].low
    assert sum(point.low for point in drawn.points) == 3
    assert drawn.points[2].title == "2.000 s: mIoU 0.5000"
    assert drawn.lines[0].text == "0.50"
    assert heights[0] < drawn.mean < heights[2]
    assert len(drawn.paths) == 1
    assert (drawn.first, drawn.last) == ("0.000 s", "5.000 s")


def test_a_gap_stays_open_and_blocks_without_a_score_are_left_out():
    drawn = plot_timeline(timeline([0.9, 0.8, math.nan, 0.7, 0.6], [0, 1, 2, 3, 4]), 0.8)
    assert len(drawn.points) == 4
    assert len(drawn.paths) == 2


def test_nothing_to_connect_is_not_drawn():
    assert plot_timeline(None, 0.5) is None
    assert plot_timeline(timeline([0.5]), 0.5) is None
    assert plot_timeline(timeline([math.nan, math.nan]), math.nan) is None
