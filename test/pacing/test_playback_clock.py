from __future__ import annotations

import math

import pytest

from deeplab_miou.pacing.playback_clock import PlaybackClock, Ticks


@pytest.mark.parametrize("rate", [0.5, 1.0, 8.0])
def test_timeline_there_and_back(rate):
    clock = PlaybackClock(start_ns=7_000_000_000, rate=rate, wall_s=50.0)
    assert clock.due_s(7_000_000_000) == 50.0
    assert clock.due_s(9_000_000_000) == 50.0 + 2 / rate
    assert clock.recorded_ns(clock.due_s(9_000_000_000)) == 9_000_000_000


def test_ticks_keep_their_period():
    ticks = Ticks(10.0)
    due = [now_s for now_s in (0.0, 0.05, 0.11, 0.19, 0.21, 0.3001) if ticks.due(now_s)]
    assert due == [0.0, 0.11, 0.21, 0.3001]


def test_ticks_do_not_make_up_for_what_was_missed():
    ticks = Ticks(10.0)
    assert ticks.due(0.0)
    assert ticks.due(5.0)
    assert not ticks.due(5.05)
    assert math.isclose(ticks.next_s, 5.1)


def test_no_ticks_at_rate_zero():
    assert not Ticks(0.0).due(1e9)
