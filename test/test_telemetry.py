from __future__ import annotations

import math

import pytest

from deeplab_miou.telemetry import Latencies, Rate, Throttle


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_rate_counts_intervals_within_the_span():
    clock = Clock()
    rate = Rate(span_s=5, clock=clock)
    assert rate.hertz() == 0
    for _ in range(101):
        rate.tick()
        clock.now_s += 0.1
    assert rate.hertz() == pytest.approx(10, rel=0.03)
    clock.now_s += 6
    assert rate.hertz() == 0


def test_quantiles_of_the_last_samples():
    latencies = Latencies()
    assert math.isnan(latencies.quantiles().median_s)
    for sample in range(101):
        latencies.add(float(sample))
    assert latencies.quantiles().median_s == 50
    assert latencies.quantiles().p95_s == 95
    for _ in range(600):
        latencies.add(1.0)
    assert latencies.quantiles().p95_s == 1


def test_throttle_holds_back_and_counts_each_kind_apart():
    clock = Clock()
    throttle = Throttle(interval_s=5, clock=clock)
    assert [throttle.admit("a"), throttle.admit("b")] == [0, 0]
    assert [throttle.admit("a"), throttle.admit("a")] == [None, None]
    clock.now_s += 5
    assert throttle.admit("a") == 2
    assert throttle.admit("b") == 0
