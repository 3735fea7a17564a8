from itertools import pairwise

import numpy as np
import pytest

from deeplab_miou.demo.ground import CROSSING_M
from deeplab_miou.demo.situation import Situation
from deeplab_miou.demo.world import World

SEEDS = range(40)


def test_the_car_only_drives_forward():
    for seed in SEEDS:
        world = World(seed)
        way = np.array([world.travelled(t) for t in np.arange(0, 60, 0.1)])
        assert way[0] == 0
        assert np.all(np.diff(way) > 0.2)


def test_houses_and_plants_stand_beside_the_road():
    for seed in SEEDS:
        world = World(seed)
        profile = world.style.profile
        for block in world.blocks(300.0):
            assert all(abs(house.u) >= profile.walk for house in block.buildings)
            assert all(abs(plant.u) > profile.road for plant in block.plants)
            assert all(profile.road < abs(post.u) < profile.walk for post in block.posts)
            assert all(abs(car.u) < profile.road for car in block.parked)


def test_nothing_stands_on_a_crossing():
    for seed in SEEDS:
        world = World(seed)
        begin = world.crossing(3)
        for block in world.blocks(begin):
            for house in block.buildings:
                assert house.s1 <= begin + 1e-9 or house.s0 >= begin + CROSSING_M


def test_moving_cars_keep_their_distance():
    for seed in SEEDS:
        world = World(seed)
        for time_s in (0.0, 7.3, 31.0):
            lane = sorted(s for s, _, _, oncoming in world.traffic(time_s) if oncoming)
            assert all(b - a > 5 for a, b in pairwise(lane))


def test_people_walk_no_faster_than_people_do():
    world = World(5)
    for block in world.blocks(100.0):
        for walker in block.walkers:
            places = [walker.place(t)[0] for t in np.arange(0, 20, 0.1)]
            assert np.abs(np.diff(places)).max() < 0.2
            assert min(places) >= walker.s0
            assert max(places) <= walker.s1


def test_the_road_begins_under_the_camera_and_keeps_its_length():
    situation = Situation(World(3), 12.0)
    assert situation.at(situation.s, 0.0) == pytest.approx([0, 0, 0])
    assert situation.at(situation.s, 2.0) == pytest.approx([2, 0, 0])
    steps = np.hypot(np.diff(situation.x), np.diff(situation.z))
    assert steps == pytest.approx(np.ones_like(steps))


def test_blocks_do_not_depend_on_the_order_of_asking():
    forward, backward = World(9), World(9)
    first = [forward.block(i) for i in range(6)]
    second = [backward.block(i) for i in reversed(range(6))]
    assert first == second[::-1]
