from __future__ import annotations

import pytest

from deeplab_miou.evaluation.stamp_eras import StampEras

S = 1_000_000_000


class Stream:
    """Remembers stamps as the pairer does."""

    def __init__(self):
        self.eras = StampEras(10 * S)
        self.seen = set()

    def observe(self, sec, *, is_behind=False):
        stamp_ns = round(sec * S)
        begins = self.eras.observe(stamp_ns, is_repeated=stamp_ns in self.seen, is_behind=is_behind)
        if begins:
            self.seen.clear()
        self.seen.add(stamp_ns)
        return begins


def eras(*secs):
    stream = Stream()
    return [int(stream.observe(sec)) for sec in secs], stream.eras.number


@pytest.mark.parametrize(
    ("secs", "begins"),
    [
        ((1, 2, 3), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 2.5, 1.7, 2, 3), (0, 0, 0, 0, 0)),  # out of order
        ((1, 2, 3, 2), (0, 0, 0, 1)),  # repeated, a second behind
        ((1, 2, 2.9, 2), (0, 0, 0, 0)),  # repeated, at once
        ((1, 12, 1.5), (0, 0, 0)),  # one ahead, and on
        ((1, 12, 13, 1.5), (0, 0, 0, 1)),  # two ahead are no slip
        ((20, 9.9, 10.1), (0, 1, 0)),  # far back
        ((100, 0, 101), (0, 0, 0)),  # never set
        ((0, 1, 2, 0, 1), (0, 0, 0, 1, 0)),  # a simulator from zero
        ((100, 1000, 10), (0, 0, 1)),  # further back than where it leapt from
    ],
)
def test_stamps_alone(secs, begins):
    assert eras(*secs) == (list(begins), sum(begins))


def test_a_stream_that_is_behind_takes_any_repeated_stamp_for_a_new_era():
    stream = Stream()
    stream.observe(1)
    assert not stream.observe(1)
    assert stream.observe(1, is_behind=True)
    assert not stream.observe(1)


def test_the_clock_makes_small_steps_count_once():
    stream = Stream()
    for sec in (4, 5):
        stream.observe(sec)
    stream.eras.clock_jumped(3 * S)
    assert not stream.observe(5.1)  # a leftover
    assert stream.observe(3.2)
    assert not stream.observe(3.1)  # out of order
    assert stream.eras.number == 1


def test_a_clock_that_tells_late_is_no_news():
    stream = Stream()
    for sec in (3, 4, 5, 3):
        stream.observe(sec)
    assert stream.eras.number == 1
    stream.observe(3.9)
    stream.eras.clock_jumped(round(3.1 * S))
    assert not stream.observe(3.3)


def test_a_clock_that_jumps_ahead_of_a_stream_expects_nothing_of_it():
    stream = Stream()
    stream.observe(2)
    stream.eras.clock_jumped(5 * S)
    assert not stream.observe(1.9)


def test_catching_up_ends_the_wait_for_a_step_back():
    stream = Stream()
    stream.observe(5)
    stream.eras.clock_jumped(4 * S)
    stream.eras.catch_up(3)
    assert not stream.observe(4.9)
    assert stream.eras.number == 3
