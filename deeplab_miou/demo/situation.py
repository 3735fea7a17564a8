# ruff: noqa: PLR2004 -- distances, in metres
"""One moment of a drive: where the car is, how the road runs on, and what is in sight."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.demo.world import BEHIND_M, VISIBLE_M, World

if TYPE_CHECKING:
    from deeplab_miou.demo.blocks import Block, Building
    from deeplab_miou.demo.canvas import Points
    from deeplab_miou.demo.vehicles import Vehicle


_BUSHES_M, _TREES_M, _POSTS_M, _CARS_M, _PEOPLE_M = 70.0, 120.0, 80.0, 110.0, 75.0


class Car(NamedTuple):
    """A car at a moment: its place, its looks, its heading in the road frame in radians."""

    s: float
    u: float
    vehicle: Vehicle
    heading: float


class Person(NamedTuple):
    """Somebody at a moment: place, look, metres walked; seen from the side, walking left."""

    s: float
    u: float
    look: int
    walked: float
    sideways: bool
    mirrored: bool


class Situation:
    """One moment of a drive.

    Args:
        world: the drive.
        time_s: the moment, seconds.

    Attributes:
        time_s: as given.
        s: how far the car has gone, metres.
        heading: direction of the road here, radians.
        turn_rate: of the car, radians a second.
        ahead: distances along the road, metres from here, at which the next three are given.
        bearing: direction of the road relative to here, radians.
        x: metres to the right of here.
        z: metres ahead of here.
        buildings: houses in sight; likewise plants, posts, cars, people.
    """

    def __init__(self, world: World, time_s: float) -> None:
        self.time_s = time_s
        self.s = world.travelled(time_s)
        self.ahead = np.arange(-BEHIND_M, VISIBLE_M + 51.0)
        self.heading = float(world.heading(self.s))
        self.bearing = world.heading(self.s + self.ahead.astype(np.float64)) - self.heading
        middle = (self.bearing[1:] + self.bearing[:-1]) / 2
        zero = int(BEHIND_M)
        x = np.concatenate([[0.0], np.cumsum(np.sin(middle))])
        z = np.concatenate([[0.0], np.cumsum(np.cos(middle))])
        self.x, self.z = x - x[zero], z - z[zero]
        step = 0.05
        later = float(world.heading(world.travelled(time_s + step)))
        self.turn_rate = (later - self.heading) / step
        blocks = world.blocks(self.s)
        self.buildings = [
            house
            for block in blocks
            for house in block.buildings
            if house.s1 > self.s + 1 and house.s0 < self.s + VISIBLE_M
        ]
        self.plants = [
            plant
            for block in blocks
            for plant in block.plants
            if 1 < plant.s - self.s < (_BUSHES_M if plant.bush else _TREES_M)
        ]
        self.posts = [
            post for block in blocks for post in block.posts if 2 < post.s - self.s < _POSTS_M
        ]
        self.cars = self._find_cars(world, blocks)
        self.people = self._find_people(world, blocks)

    def _find_cars(self, world: World, blocks: list[Block]) -> list[Car]:
        cars = [
            Car(car.s, car.u, car.vehicle, self.course(car.s) + (math.pi if car.reverse else 0))
            for block in blocks
            for car in block.parked
            if 1 < car.s - self.s < _CARS_M
        ]
        cars += [
            Car(s, u, vehicle, self.course(s) + (math.pi if oncoming else 0))
            for s, u, vehicle, oncoming in world.traffic(self.time_s)
            if 1 - BEHIND_M < s - self.s < VISIBLE_M
        ]
        return cars

    def _find_people(self, world: World, blocks: list[Block]) -> list[Person]:
        found = []
        for block in blocks:
            for walker in block.walkers:
                s, direction = walker.place(self.time_s)
                if 2 < s - self.s < _PEOPLE_M:
                    way = walker.speed * self.time_s + walker.start
                    found.append(
                        Person(
                            s, walker.u, walker.look, way, sideways=False, mirrored=direction < 0
                        )
                    )
            for crosser in block.crossers:
                ahead = crosser.s - self.s
                if not 4 < ahead < _PEOPLE_M:
                    continue
                # They cross while the car comes from 80 m to 10 m, and are across when it is there.
                share = min(max((80 + crosser.lead - ahead) / 70, 0.0), 1.0)
                edge = world.style.profile.road + 0.8
                u = crosser.side * edge * (1 - 2 * share)
                way = 2 * edge * share
                found.append(
                    Person(crosser.s, u, crosser.look, way, 0 < share < 1, crosser.side > 0)
                )
        return found

    def course(self, s: float) -> float:
        """Return the road's direction at s relative to its direction here, radians."""
        return float(np.interp(s - self.s, self.ahead, self.bearing))

    def at(self, s: float, u: float) -> Points:
        """Return the (3,) ground point at s along and u beside the road, in the road frame."""
        d = s - self.s
        course = float(np.interp(d, self.ahead, self.bearing))
        x = float(np.interp(d, self.ahead, self.x)) + u * math.cos(course)
        z = float(np.interp(d, self.ahead, self.z)) - u * math.sin(course)
        return np.array([x, 0.0, z])

    def outline(self, building: Building) -> Points:
        """Return a house's (4, 3) corners: near front, far front, far back, near back."""
        s0 = max(building.s0, self.s - BEHIND_M)
        back = building.u + math.copysign(building.depth, building.u)
        near, far = self.at(s0, building.u), self.at(building.s1, building.u)
        middle = (s0 + building.s1) / 2
        out = self.at(middle, back) - self.at(middle, building.u)
        return np.array([near, far, far + out, near + out])
