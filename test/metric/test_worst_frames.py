from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.metric.worst_frames import WorstFrames

SECOND = 10**9


def matrix(right, wrong, invalid=0):
    """Return two classes: `right` and `wrong` pixels of class 0, one right pixel of class 1."""
    return np.array([[right, wrong, invalid], [0, 1, 0]], np.int64)


def test_the_worst_are_kept_in_order():
    worst = WorstFrames(most=3)
    shares = np.random.default_rng(0).permutation(50)
    for index, wrong in enumerate(shares):
        worst.update(matrix(100 - wrong, wrong), index * SECOND, int(wrong))
    assert [frame.evidence for frame in worst.frames()] == [49, 48, 47]
    first = worst.frames()[0]
    assert first.miou == pytest.approx((51 / 100 + 1 / 50) / 2)
    assert first.wrong == pytest.approx(49 / 101)
    assert first.confusion == (0, 1, 49)


def test_one_of_each_second_of_each_source():
    worst = WorstFrames(most=5)
    for source in ("/a", "/b"):
        for step, wrong in enumerate((10, 30, 20)):
            worst.update(matrix(50, wrong), 7 * SECOND + step, wrong, source)
    worst.update(matrix(50, 5), 8 * SECOND, 5, "/a")
    kept = [(frame.source, frame.evidence) for frame in worst.frames()]
    assert kept == [("/a", 30), ("/b", 30), ("/a", 5)]


def test_a_second_that_gave_way_can_come_back():
    worst = WorstFrames(most=2)
    for stamp, wrong in ((1, 10), (2, 20), (3, 30), (1, 40)):
        worst.update(matrix(50, wrong), stamp * SECOND, wrong)
    assert [frame.evidence for frame in worst.frames()] == [40, 30]


def test_frames_without_a_label_do_not_count():
    worst = WorstFrames()
    worst.update(np.zeros((2, 3), np.int64), 0, None)
    assert worst.frames() == ()


def test_stray_pixels_of_a_class_that_is_not_there_do_not_rank_a_frame():
    worst = WorstFrames()
    stray = np.array([[99, 1, 0], [0, 0, 0]], np.int64)
    worst.update(stray, 0, None)
    assert worst.frames()[0].miou == pytest.approx(0.99)


def test_invalid_predictions_have_a_line_and_perfect_frames_have_none():
    worst = WorstFrames()
    worst.update(matrix(1, 2, invalid=3), 0, None)
    worst.update(matrix(9, 0), SECOND, None)
    assert [frame.confusion for frame in worst.frames()] == [(0, 2, 3)]
    worst.reset()
    assert worst.frames() == ()


def test_what_is_kept_is_a_copy():
    worst = WorstFrames()
    counts = matrix(1, 2)
    worst.update(counts, 0, None)
    counts[:] = 0
    assert worst.frames()[0].confusion == (0, 1, 2)


def test_only_candidates_need_an_update():
    random = np.random.default_rng(1)
    matrices = np.stack([matrix(100 - wrong, wrong) for wrong in random.integers(0, 60, 200)])
    matrices[50], matrices[51] = 0, matrix(9, 0)
    all_of_them, candidates_only = WorstFrames(most=4), WorstFrames(most=4)
    for first in range(0, len(matrices), 20):
        batch = matrices[first : first + 20]
        for index, counts in enumerate(batch, first):
            all_of_them.update(counts, index * SECOND, index)
        chosen = candidates_only.candidates(batch)
        assert len(chosen) < 20 or first == 0
        for index in chosen:
            candidates_only.update(batch[index], (first + index) * SECOND, first + index)
    assert candidates_only.frames() == all_of_them.frames()
    assert WorstFrames().candidates(matrices[50:52]) == []


def test_the_order_of_equal_frames_does_not_matter():
    frames = [(matrix(50, wrong), second * SECOND) for second in range(6) for wrong in (10, 20)]
    kept = []
    for order in (frames, frames[::-1]):
        worst = WorstFrames(most=3)
        for index in worst.candidates(np.stack([counts for counts, _ in order])):
            worst.update(*order[index], None)
        kept.append(worst.frames())
    assert kept[0] == kept[1]
    assert [frame.stamp_ns for frame in kept[0]] == [0, SECOND, 2 * SECOND]
