from __future__ import annotations

import itertools

from deeplab_miou.watch.history import History, ScorePoint


def point(time_s, frames=None):
    return ScorePoint(float(time_s), int(time_s) if frames is None else frames, (0.5,))


def test_few_points_are_kept_as_they_are():
    history = History(capacity=100)
    points = [point(index) for index in range(100)]
    for each in points:
        history.add(each)
    assert history.points() == points


def test_many_points_are_thinned_evenly_and_the_newest_is_there_at_any_time():
    history = History(capacity=100)
    for index in range(20_000):
        history.add(point(index))
        assert history.points()[-1] == point(index)
    times = [each.time_s for each in history.points()]
    assert 45 <= len(times) <= 100
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) < 5 * 20_000 / 100
    assert times == sorted(times)


def test_the_last_point_before_counting_began_anew_stays():
    history = History(capacity=10)
    for index in range(25):
        history.add(point(index))
    history.add(point(25, frames=1))
    history.add(point(25.1, frames=2))
    assert [each.frames for each in history.points()[-3:]] == [24, 1, 2]


def test_memory_is_bounded_whatever_comes():
    history = History(capacity=10)
    for index in range(1000):
        history.add(point(index / 1000, frames=1000 - index))
    assert len(history.points()) <= 10
