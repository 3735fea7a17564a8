"""A region is scored like a stream of its own in which ground truth outside it is ignored."""

from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.aggregation.messages import (
    EvaluatorState,
    FrameRecord,
    RefusedError,
    RunSnapshot,
)
from deeplab_miou.metric.confusion import to_cells
from deeplab_miou.metric.counts import Axes, Counts
from deeplab_miou.report.report import Report

NAMES = ("road", "car", "sky")
REGIONS = ("near", "far")
SHAPE = (12, 16)
FRAMES = 40


def count(truth, prediction):
    """Count with NumPy alone; 255 is ignored."""
    matrix = np.zeros((3, 4), np.int64)
    for label, guess in zip(truth.ravel(), prediction.ravel(), strict=True):
        if label != 255:
            matrix[label, min(guess, 3)] += 1
    return matrix


def frames():
    """Return for each frame the ground truths of all, near and far, and the prediction."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(FRAMES):
        truth = rng.integers(0, 3, SHAPE).astype(np.uint8)
        truth[rng.random(SHAPE) < 0.1] = 255
        wrong = rng.random(SHAPE) < rng.uniform(0.1, 0.6)
        prediction = np.where(wrong, rng.integers(0, 5, SHAPE), truth).astype(np.uint8)
        near, far = truth.copy(), truth.copy()
        near[:8], far[8:] = 255, 255
        if index % 8 == 0:
            far[:] = 255  # nothing of it is in the picture
        found.append(((truth, near, far), prediction))
    return found


def feed(counted, names=()):
    """Return an aggregate that was told these counts of frames."""
    sums = Aggregate(window_frames=7)
    total = Axes(NAMES, names).zero()
    for sequence, counts in enumerate(counted, 1):
        total += counts
        run = RunSnapshot("r", 0, total, frame_sequence=sequence, stamp_ns=sequence * 10**9)
        sums.add_state(EvaluatorState("/e", sequence, run, NAMES, region_names=names), 0.0)
        sums.add_frame(
            FrameRecord(
                "/e",
                "r",
                0,
                sequence,
                sequence * 10**9,
                evaluated=True,
                **dict(zip(("cells", "counts"), to_cells(counts.matrix), strict=True)),
                **dict(
                    zip(("region_cells", "region_counts"), to_cells(counts.regions), strict=True)
                ),
            )
        )
    return sums


@pytest.fixture(scope="module")
def matrices():
    return [[count(truth, guess) for truth in truths] for truths, guess in frames()]


@pytest.mark.parametrize("region", [0, 1])
def test_a_region_is_scored_as_a_stream_of_its_own(matrices, region):
    together = feed((Counts.of_stack(np.array(each), 1) for each in matrices), REGIONS)
    alone = feed(Counts(each[1 + region], 1) for each in matrices)
    expected = Report(alone.result(0.0)).to_dict()
    found = Report(together.result(0.0)).to_dict()["regions"][region]
    assert found.pop("name") == REGIONS[region]
    assert expected["intervals"]["miou_anytime"][0] is not None
    assert len(expected["worst_frames"]) == 6
    del found["contrast"]  # there is no rest in a stream of its own
    assert found.pop("worst_frames") == expected["worst_frames"][:2]
    assert {key: expected[key] for key in found} == found
    window = together.window(0.0).regions[REGIONS[region]]
    assert (
        window.totals.counts.matrix.tolist()
        == sum(each[1 + region] for each in matrices[-7:]).tolist()
    )
    assert window.scores.miou == alone.window(0.0).scores.miou


def test_the_whole_frames_do_not_change_by_having_regions(matrices):
    together = feed((Counts.of_stack(np.array(each), 1) for each in matrices), REGIONS)
    alone = feed(Counts(each[0], 1) for each in matrices)
    found, expected = (Report(each.result(0.0)).to_dict() for each in (together, alone))
    assert len(found.pop("regions")) == 2
    assert expected.pop("regions") == []
    assert found == expected


def test_evaluators_with_other_regions_do_not_add_up(matrices):
    sums = feed([Counts.of_stack(np.array(matrices[0]), 1)], REGIONS)
    other = RunSnapshot("r", 0, Counts(matrices[0][0], 1))
    with pytest.raises(RefusedError, match=r"its regions are 0 \(\), but those .* 2 \(near, far\)"):
        sums.add_state(EvaluatorState("/other", 1, other, NAMES), 0.0)
    assert sums.refused == {"region_names": 1}
    assert sums.totals(0.0).counts.frames == 1


def test_two_evaluators_add_up_region_by_region(matrices):
    sums = feed([Counts.of_stack(np.array(matrices[0]), 1)], REGIONS)
    second = RunSnapshot("r", 0, Counts.of_stack(np.array(matrices[1]), 1))
    sums.add_state(EvaluatorState("/other", 1, second, NAMES, region_names=REGIONS), 0.0)
    expected = np.array(matrices[0]) + np.array(matrices[1])
    assert sums.totals(0.0).counts.stack.tolist() == expected.tolist()
    assert sums.result(0.0).regions["far"].totals.counts.matrix.tolist() == expected[2].tolist()
