"""Pairs and their depth images, whenever these arrive."""

import itertools
import time

import numpy as np
import pytest

from deeplab_miou.evaluation.depth_pairing import DepthPairer
from deeplab_miou.evaluation.outcomes import Arrival
from deeplab_miou.evaluation.pairing import Pair, Pairer
from deeplab_miou.images.messages import RawImage

STEP_NS = 100_000_000


def message(stamp_ns, arrival_s=0.0, size=100):
    image = RawImage(1, size, "mono8", is_bigendian=False, step=size, data=b"\0" * size)
    return Arrival(stamp_ns, "", image, arrival_s, 0)


def pair(stamp_ns, arrival_s=0.0):
    return Pair(message(stamp_ns, arrival_s), message(stamp_ns, arrival_s))


def make(**options):
    return DepthPairer(Pairer(**options))


def summary(pairs):
    """Return the stamps of pairs and of their depth images."""
    return [(each.image.stamp_ns, each.depth and each.depth.stamp_ns) for each in pairs]


def test_a_pair_waits_for_its_depth_image_and_no_longer():
    pairer = make()
    assert pairer.add_pair(pair(1)) == []
    assert summary(pairer.add_depth(message(1))) == [(1, 1)]
    assert pairer.add_depth(message(2)) == []
    assert summary(pairer.add_pair(pair(2))) == [(2, 2)]
    assert pairer.add_pair(pair(3)) == []
    # A later one tells that there is none for it.
    assert summary(pairer.add_depth(message(4))) == [(3, None)]
    # Late labels: of depth images that are still held, and of one that never was.
    assert summary(pairer.add_pair(pair(4))) == [(4, 4)]
    assert summary(pairer.add_pair(pair(0))) == [(0, None)]
    assert pairer.waiting() == 0


def test_all_interleavings_find_the_same_depth_images():
    """Each of the two streams in its order, depth at half the rate."""
    pairs, depths = [0, 1, 2, 3, 4, 5], [0, 2, 4]
    expected = [(k * STEP_NS, k * STEP_NS if k in depths else None) for k in pairs]
    for places in itertools.combinations(range(len(pairs) + len(depths)), len(depths)):
        pairer, found = make(), []
        left, right = iter(pairs), iter(depths)
        for place in range(len(pairs) + len(depths)):
            if place in places:
                found += pairer.add_depth(message(next(right) * STEP_NS))
            else:
                found += pairer.add_pair(pair(next(left) * STEP_NS))
        found += pairer.flush()
        assert sorted(summary(found)) == expected, places


@pytest.mark.parametrize("seed", range(20))
def test_within_a_tolerance_the_nearest_belongs_to_it(seed):
    rng = np.random.default_rng(seed)
    stamps = (np.arange(20) * STEP_NS + rng.integers(-3_000_000, 3_000_000, 20)).tolist()
    depths = [stamp + int(rng.integers(-9_000_000, 9_000_000)) for stamp in stamps[::2]]
    pairer, found = make(tolerance_ns=20_000_000), []
    events = [(s + int(rng.integers(0, 3 * STEP_NS)), k) for k in (0, 1) for s in stamps[:: 1 + k]]
    waiting = {0: iter(stamps), 1: iter(depths)}
    for _, kind in sorted(events):
        stamp = next(waiting[kind])
        found += pairer.add_depth(message(stamp)) if kind else pairer.add_pair(pair(stamp))
    found += pairer.flush()
    expected = [(s, depths[k // 2] if k % 2 == 0 else None) for k, s in enumerate(stamps)]
    assert sorted(summary(found)) == expected


def test_a_silent_topic_holds_no_pair_for_long():
    pairer = make()
    now_s = time.monotonic()
    for number in range(5):
        assert pairer.add_pair(pair(number, now_s - 5 + number)) == []
    assert summary(pairer.expire(now_s - 2.5)) == [(0, None), (1, None), (2, None)]
    assert pairer.waiting() == 2
    assert summary(pairer.flush()) == [(3, None), (4, None)]
    assert pairer.held_bytes == 0


def test_memory_is_bounded_and_no_pair_is_lost():
    pairer = make(max_frames=3, max_bytes=1000)
    found = []
    for number in range(50):
        found += pairer.add_pair(pair(number))
        assert pairer.held_bytes <= 1000
    for number in range(100, 150):
        found += pairer.add_depth(message(number))
        assert pairer.held_bytes <= 1000
    found += pairer.flush()
    assert summary(found) == [(number, None) for number in range(50)]


def test_a_bag_that_loops_finds_the_depth_images_of_each_round():
    pairer, found = make(), []
    for _ in range(3):
        for number in range(20):
            found += pairer.add_pair(pair(number * STEP_NS))
            if number % 2 == 0:
                found += pairer.add_depth(message(number * STEP_NS))
    found += pairer.flush()
    stamps = [(k * STEP_NS, k * STEP_NS if k % 2 == 0 else None) for k in range(20)]
    assert sorted(summary(found), key=lambda each: each[0]) == sorted(
        3 * stamps, key=lambda each: each[0]
    )


def test_pairs_of_one_stamp_are_all_scored():
    pairer = make()
    found = [*pairer.add_pair(pair(1)), *pairer.add_pair(pair(1)), *pairer.flush()]
    assert summary(found) == [(1, None), (1, None)]


def test_a_reset_forgets_what_waits():
    pairer = make()
    pairer.add_pair(pair(1))
    pairer.reset()
    assert pairer.flush() == []
