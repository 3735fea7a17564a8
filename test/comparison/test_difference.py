import numpy as np
import pytest

from deeplab_miou.comparison.difference import (
    DifferenceStatistics,
    add_pair,
    compare,
    decide,
    paired_sums,
)
from deeplab_miou.metric.bootstrap import IouStatistics
from deeplab_miou.metric.resampling import Resampling, find_bounds
from deeplab_miou.report.frame_table import FrameTable

SECOND = 1_000_000_000
NAMES = ("road", "car", "pole")


def ar1(random, count, correlation):
    values = random.standard_normal(count)
    for t in range(1, count):
        values[t] = correlation * values[t - 1] + (1 - correlation**2) ** 0.5 * values[t]
    return values


def tables(seed, gain=0.0, seconds=120, hard=0.1, own=0.02):
    """Two networks on a street that is as hard for both; each errs in its own way besides."""
    random = np.random.default_rng(seed)
    frames = 2 * seconds
    street = hard * ar1(random, frames, 0.8)
    found = []
    for better in (0.0, gain):
        quality = 0.7 + better + street + own * ar1(random, frames, 0.5)
        hits = np.rint(10_000 * np.clip(quality, 0, 1)).astype(np.int64)
        counts = np.zeros((frames, 3, 3), np.int64)
        counts[:, 0, :2] = hits[:, np.newaxis]
        counts[:, 2, :2] = 10_000 - hits[:, np.newaxis]
        found.append(FrameTable(NAMES, np.arange(frames) * SECOND // 2, counts))
    return found


def test_scores_and_differences_are_those_of_the_summed_counts():
    a, b = tables(1, gain=0.05)
    found = compare(a, b, margin=0.005)
    for scores, table in ((found.a, a), (found.b, b)):
        right, false, missed = table.counts.sum(axis=0)
        iou = right[:2] / (right + false + missed)[:2]
        assert scores[1:3] == pytest.approx(iou)
        assert scores[0] == pytest.approx(iou.mean())
        assert np.isnan(scores[3])
    assert found.value[0] == pytest.approx(found.b[0] - found.a[0])
    assert np.isnan(found.bounds.fixed[3]).all()


def test_pairing_takes_away_what_both_networks_share():
    """The same difference, where one street is a hundred times as changeable as the other."""
    calm, rough = (compare(*tables(2, 0.02, hard=hard), margin=0) for hard in (0.001, 0.1))
    widths = [np.ptp(found.bounds.fixed[0]) for found in (calm, rough)]
    assert widths[1] < 1.5 * widths[0]
    alone = compare(tables(2, hard=0.1)[0], tables(3, 0.02, hard=0.1)[1], margin=0)
    assert np.ptp(alone.bounds.fixed[0]) > 3 * widths[1]


@pytest.mark.parametrize(
    ("gain", "margin", "verdict"),
    [
        (0.05, 0.005, "better"),
        (-0.05, 0.005, "worse"),
        (0.0, 0.02, "equivalent"),
        (0.0, 0.0001, "no evidence"),
    ],
)
def test_verdicts(gain, margin, verdict):
    found = compare(*tables(4, gain), margin=margin)
    assert found.verdict() == verdict
    assert found.verdict(1) == verdict
    assert found.verdict(3) == "no evidence"


def test_worse_by_and_not_worse_by():
    found = compare(*tables(5, -0.05), margin=0.005)
    assert [found.worse_by(margin) for margin in (0, 0.02, 0.08)] == [True, True, False]
    assert [found.not_worse_by(margin) for margin in (0, 0.02, 0.08)] == [False, False, True]


def test_a_network_is_as_good_as_itself():
    a, _ = tables(6)
    found = compare(a, a, margin=0.001)
    assert found.bounds.fixed[0].tolist() == found.bounds.anytime[0].tolist() == [0, 0]
    assert found.verdict() == "equivalent"
    assert found.not_worse_by(0.001)
    assert not found.worse_by(0)


def test_too_few_blocks_are_no_evidence_and_pass_no_gate():
    found = compare(*tables(7, 0.05, seconds=7), margin=0.005)
    assert found.verdict() == "no evidence"
    assert found.bounds.reason == (
        "an interval needs 8 blocks of 1 s with labelled frames, but there are 7"
    )
    assert not found.not_worse_by(1)
    assert not found.worse_by(0)


def test_false_alarms_and_power():
    """bench/comparison.py in short: 5 % of equal networks may seem to differ."""
    alarms = sum(
        compare(*tables(100 + k), margin=0).verdict() in {"better", "worse"} for k in range(100)
    )
    assert alarms <= 11
    seen = sum(compare(*tables(300 + k, 0.01), margin=0).verdict() == "better" for k in range(30))
    assert seen >= 25


def test_one_sided_bounds_are_those_of_a_ninety_percent_interval():
    a, b = tables(7, 0.01)
    sums = paired_sums(3)
    add_pair(sums, a, b)
    statistics = DifferenceStatistics(IouStatistics(np.ones(3), "exclude"))
    wide, narrow = (
        find_bounds(sums.read(), statistics, Resampling(confidence=each), (-1.0, 1.0))
        for each in (0.95, 0.9)
    )
    assert wide.one_sided[:3] == pytest.approx(narrow.fixed[:3])
    assert (wide.fixed[:3, 0] < wide.one_sided[:3, 0]).all()
    assert compare(a, b, margin=0).bounds.one_sided[0] == pytest.approx(narrow.fixed[0])


def test_what_is_decided_at_every_moment_lies_behind_what_one_look_decides():
    decided = {}
    for seconds in range(10, 125, 5):
        a, b = tables(4, 0.05, seconds=seconds)
        sums = paired_sums(3)
        add_pair(sums, a, b)
        decided[seconds] = (
            compare(a, b, margin=0.005).verdict(),
            decide(sums.read(), margin=0.005),
        )
    first = [min(s for s, each in decided.items() if each[k] == "better") for k in (0, 1)]
    assert first[0] < first[1] <= 60
    assert set(decided.values()) <= {
        ("no evidence", "no evidence"),
        ("better", "no evidence"),
        ("better", "better"),
    }
