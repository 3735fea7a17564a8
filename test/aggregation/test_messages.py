from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.aggregation.messages import FrameRecord, RefusedError, stack_from_counts
from deeplab_miou.metric.counts import Axes


def axes(classes, regions=0):
    return Axes(("c",) * classes, ("r",) * regions)


@pytest.mark.parametrize(
    ("counts", "of_regions", "classes", "regions", "text"),
    [
        ([1] * 5, [], 2, 0, "5 counts, expected 6"),
        ([], [], 0, 0, "0 class names"),
        ([2**64 - 1, 1], [], 1, 0, "more than"),
        ([5, 1], [1, 1, 1], 1, 2, "3 counts of regions, expected 4 for 2 regions"),
        ([5, 1], [1], 1, 0, "1 counts of regions, expected 0"),
        ([5, 1], [5, 2], 1, 1, "more in a region than in the whole frames"),
        ([5, 1], [0, 2**64 - 1], 1, 1, "more in a region than in the whole frames"),
        ([5, 1], [0, 0] * 65, 1, 65, "65 regions, expected at most 64"),
    ],
)
def test_malformed_matrices_are_refused(counts, of_regions, classes, regions, text):
    with pytest.raises(RefusedError, match=text):
        stack_from_counts(
            np.array(counts, np.uint64), np.array(of_regions, np.uint64), axes(classes, regions)
        )


def test_matrices_of_regions_follow_those_of_the_whole():
    stack = stack_from_counts(
        np.array([5, 1], np.uint64), np.array([1, 0, 4, 1], np.uint64), axes(1, 2)
    )
    assert stack.tolist() == [[[5, 1]], [[1, 0]], [[4, 1]]]
    alone = stack_from_counts(np.array([5, 1], np.uint64), np.array([], np.uint64), axes(1))
    assert alone.tolist() == [[[5, 1]]]


def record(cells, counts):
    return FrameRecord(
        source="/e",
        run_id="r",
        reset_count=0,
        sequence=1,
        stamp_ns=0,
        evaluated=True,
        cells=np.array([0, 1], np.uint32),
        counts=np.array([5, 1], np.uint64),
        region_cells=np.array(cells, np.uint32),
        region_counts=np.array(counts, np.uint64),
    )


def test_a_frame_counts_its_regions():
    counts = record([0, 2, 3], [1, 4, 1]).counted(axes(1, 2))
    assert counts.stack.tolist() == [[[5, 1]], [[1, 0]], [[4, 1]]]
    assert counts.frames == 1
    assert record([], []).counted(axes(1, 2)).regions.tolist() == [[[0, 0]], [[0, 0]]]


@pytest.mark.parametrize(
    ("cells", "counts", "regions"),
    [([4], [1], 2), ([0], [1], 0), ([0], [6], 1), ([0, 1], [1], 1), ([0], [2**64 - 1], 1)],
)
def test_malformed_regions_of_a_frame_are_refused(cells, counts, regions):
    with pytest.raises(RefusedError, match="frame 1 of '/e' refused"):
        record(cells, counts).counted(axes(1, regions))
