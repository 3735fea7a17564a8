"""What stands along a drive and where: road, houses, trees, lamps, cars and people by seed.

Everything is a function of the seed, of the place along the road and of time: any frame can be
rendered first, and a drive has no end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deeplab_miou.demo.canvas import Points
from deeplab_miou.demo.people import Look
from deeplab_miou.demo.textures import CROSSING_M, Profile
from deeplab_miou.demo.vehicles import Vehicle

VISIBLE_M = 150.0
BEHIND_M = 15.0
BLOCK_M = 130.0
FACADES = 7
TREES = 4
BUSHES = 2
LOOKS = 12
# One stream of chances for each purpose, so that a change in one leaves the others as they are.
_STYLE, _BLOCK, _CROSSING, _FRAME, _TRAFFIC, ASSETS = range(6)


def chances(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one purpose of one drive."""
    return np.random.default_rng([seed, *(k & 0xFFFFFFFF for k in key)])


@dataclass(frozen=True)
class Building:
    """A house: from s0 to s1 along the road, its front `u` metres beside it (sign is the side)."""

    s0: float
    s1: float
    u: float
    depth: float
    height: float
    facade: int
    roof: tuple[float, float, float]
    pitched: bool


@dataclass(frozen=True)
class Plant:
    """A tree or bush; `kind` is its sprite."""

    s: float
    u: float
    scale: float
    kind: int
    bush: bool
    mirrored: bool


@dataclass(frozen=True)
class Post:
    """A street lamp, or a traffic sign on its post (`sign` is the plate's RGB colour)."""

    s: float
    u: float
    height: float
    radius: float
    arm: float
    grey: float
    sign: tuple[float, float, float] | None


@dataclass(frozen=True)
class Parked:
    """A car at the kerb."""

    s: float
    u: float
    vehicle: Vehicle
    reverse: bool


@dataclass(frozen=True)
class Walker:
    """Somebody who walks to and fro on the sidewalk between s0 and s1."""

    s0: float
    s1: float
    start: float
    speed: float
    u: float
    look: int

    def place(self, time_s: float) -> tuple[float, float]:
        """Return (s, direction along the road) at a time."""
        span = self.s1 - self.s0
        way = math.fmod(self.start + self.speed * time_s, 2 * span)
        return (self.s0 + way, 1.0) if way < span else (self.s1 - (way - span), -1.0)


@dataclass(frozen=True)
class Crosser:
    """Somebody who crosses at a zebra while the car approaches; `lead` metres ahead of it."""

    s: float
    side: float
    lead: float
    look: int


@dataclass(frozen=True)
class Block:
    """Everything between one crossing and the next."""

    buildings: tuple[Building, ...]
    plants: tuple[Plant, ...]
    posts: tuple[Post, ...]
    parked: tuple[Parked, ...]
    walkers: tuple[Walker, ...]
    crossers: tuple[Crosser, ...]


@dataclass(frozen=True)
class Style:
    """The character of a drive: street, weather, light, lens, traffic."""

    profile: Profile
    bends: tuple[tuple[float, float, float], ...]  # amplitude 1/m, length m, phase
    speed: float
    focal: float  # in image widths
    camera_height: float
    horizon: float  # in image heights
    overcast: float  # 0 clear .. 1 grey
    sun_azimuth: float
    sun_elevation: float
    visibility: float
    zenith: tuple[float, float, float]
    low: tuple[float, float, float]
    clouds: float
    warmth: float
    houses: float  # share of the frontage that is built on
    greenery: float
    parking: float
    crowd: float
    traffic: int
    leader: bool
    noise: float

    @staticmethod
    def draw(seed: int) -> Style:
        """Choose the character of a drive."""
        rng = chances(seed, _STYLE)
        bay = 2.3 if rng.random() < 0.65 else 0.4
        lane = rng.uniform(3.2, 3.7)
        road = lane + bay
        walk = road + rng.uniform(2.4, 4.2)
        front = walk + (rng.uniform(1.5, 4.0) if rng.random() < 0.4 else 0.15)
        overcast = float(np.clip(rng.uniform(-0.6, 1.1), 0, 1))
        warm = rng.random() < 0.3
        blue = np.array([92, 140, 206]) * (1 - 0.55 * overcast) + 150 * 0.55 * overcast
        low = np.array([206, 214, 224]) if not warm else np.array([236, 214, 184])
        low = low * (1 - 0.3 * overcast) + np.array([196, 198, 202]) * 0.3 * overcast
        shade = rng.uniform(0.9, 1.05)
        return Style(
            profile=Profile(road=road, lane=lane, walk=walk, front=front),
            bends=tuple(
                (rng.uniform(0.002, 0.0055), rng.uniform(110, 320), rng.uniform(0, 2 * math.pi))
                for _ in range(2)
            ),
            speed=rng.uniform(6.5, 11.5),
            focal=rng.uniform(0.8, 0.95),
            camera_height=rng.uniform(1.4, 1.75),
            horizon=rng.uniform(0.41, 0.47),
            overcast=overcast,
            sun_azimuth=rng.uniform(-math.pi, math.pi),
            sun_elevation=rng.uniform(0.45, 1.0) if not warm else rng.uniform(0.3, 0.5),
            visibility=rng.uniform(260, 700) * (1 - 0.4 * overcast),
            zenith=tuple(float(v) for v in np.clip(blue * shade, 0, 235)),  # type: ignore[arg-type]
            low=tuple(float(v) for v in np.clip(low * shade, 0, 245)),  # type: ignore[arg-type]
            clouds=rng.uniform(0.1, 0.55) * (1 - overcast) + 0.85 * overcast,
            warmth=rng.uniform(0.04, 0.1) if warm else rng.uniform(-0.04, 0.04),
            houses=rng.uniform(0.55, 0.98),
            greenery=rng.uniform(0.15, 0.9),
            parking=rng.uniform(0.05, 0.6) if bay > 1 else 0.0,
            crowd=rng.uniform(0.5, 1.1),
            traffic=int(rng.integers(1, 6)),
            leader=bool(rng.random() < 0.6),
            noise=rng.uniform(1.5, 5.0),
        )


class World:
    """A drive's road and surroundings, built block by block.

    Args:
        seed: which drive.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.style = Style.draw(seed)
        self.block = lru_cache(maxsize=16)(self._build_block)
        rng = chances(seed, _TRAFFIC)
        self._pace = float(rng.uniform(0, 2 * math.pi))
        self._ring = 45.0 * self.style.traffic + 150
        slots = (np.arange(self.style.traffic) + rng.uniform(0, 0.6, self.style.traffic)) * 45
        self._oncoming = [(float(s), Vehicle.draw(rng)) for s in slots]
        self._against = float(rng.uniform(7, 12))
        self._leader = (Vehicle.draw(rng), float(rng.uniform(0, 6)))

    def travelled(self, time_s: float) -> float:
        """Return how far the car has gone, metres; its speed swings by a quarter."""
        swing = self.style.speed * 0.25 / 0.35
        return self.style.speed * time_s + swing * (
            math.sin(0.35 * time_s + self._pace) - math.sin(self._pace)
        )

    def heading(self, s: Points | float) -> Points:
        """Return the road's direction at arc length s, radians, positive to the right."""
        total = np.zeros_like(np.asarray(s, np.float64))
        for amplitude, length, phase in self.style.bends:
            wave = 2 * math.pi / length
            total = total - amplitude / wave * np.cos(wave * np.asarray(s) + phase)
        return total

    def crossing(self, index: int) -> float:
        """Return where the crossing before block `index` begins, metres."""
        return index * BLOCK_M + float(chances(self.seed, _CROSSING, index).uniform(0, 40))

    def blocks(self, s: float) -> list[Block]:
        """Return the blocks in sight from s."""
        first = math.floor((s - BEHIND_M - 60) / BLOCK_M)
        last = math.floor((s + VISIBLE_M) / BLOCK_M)
        return [self.block(index) for index in range(first, last + 1)]

    def crossings(self, s: float) -> list[float]:
        """Return where the crossings in sight from s begin."""
        first = math.floor((s - BEHIND_M - 60) / BLOCK_M)
        last = math.floor((s + VISIBLE_M + 50) / BLOCK_M)
        return [self.crossing(index) for index in range(first, last + 1)]

    def traffic(self, time_s: float) -> list[tuple[float, float, Vehicle, bool]]:
        """Return (s, u, vehicle, oncoming) of every moving car at a time."""
        here = self.travelled(time_s)
        u = self.style.profile.lane / 2
        cars = []
        for start, vehicle in self._oncoming:
            ahead = (start - self._against * time_s - here) % self._ring - BEHIND_M
            cars.append((here + ahead, -u, vehicle, True))
        if self.style.leader:
            vehicle, phase = self._leader
            gap = 20 + 9 * math.sin(0.21 * time_s + phase)
            cars.append((here + gap, u, vehicle, False))
        return cars

    def _build_block(self, index: int) -> Block:
        rng = chances(self.seed, _BLOCK, index)
        begin, end = self.crossing(index) + CROSSING_M, self.crossing(index + 1)
        style = self.style
        buildings: list[Building] = []
        plants: list[Plant] = []
        posts: list[Post] = []
        parked: list[Parked] = []
        walkers: list[Walker] = []
        for side in (-1.0, 1.0):
            buildings += self._frontage(rng, begin, end, side, plants)
            self._furnish(rng, (begin, end), side, plants, posts)
            s = begin + 7
            while s < end - 7:
                if rng.random() < style.parking:
                    u = side * (style.profile.road - 1.15 + rng.uniform(-0.1, 0.1))
                    reverse = bool((side < 0) == (rng.random() < 0.9))
                    parked.append(Parked(s, u, Vehicle.draw(rng), reverse))
                s += rng.uniform(5.6, 7.0)
            width = style.profile.walk - style.profile.road
            for _ in range(int(rng.poisson(13.0 * style.crowd))):
                u = side * (style.profile.road + 0.6 + rng.uniform(0, 1) * (width - 1.2))
                start = rng.uniform(0, 2 * (end - begin))
                look = int(rng.integers(LOOKS))
                walkers.append(Walker(begin, end, start, rng.uniform(1.0, 1.6), u, look))
        crossers = tuple(
            Crosser(
                begin - CROSSING_M + (1.3 if rng.random() < 0.5 else CROSSING_M - 1.3)
                + rng.uniform(-0.7, 0.7),
                -1.0 if rng.random() < 0.5 else 1.0,
                rng.uniform(0, 25),
                int(rng.integers(LOOKS)),
            )
            for _ in range(int(rng.poisson(4.0 * style.crowd)))
        )  # fmt: skip
        return Block(
            tuple(buildings), tuple(plants), tuple(posts), tuple(parked), tuple(walkers), crossers
        )

    def _frontage(
        self, rng: np.random.Generator, begin: float, end: float, side: float, plants: list[Plant]
    ) -> list[Building]:
        """Build houses along one side; gaps become gardens with trees."""
        houses = []
        front = self.style.profile.front
        storeys = rng.uniform(2, 5)
        s = begin + rng.uniform(0, 2)
        while s < end - 7:
            length = min(float(rng.uniform(8, 19)), end - s)
            if rng.random() < self.style.houses:
                height = 3.1 * max(1.6, storeys + rng.uniform(-1.2, 1.2))
                roof = tuple(float(v) for v in rng.uniform(0.8, 1.1) * np.array(
                    ((122, 62, 46), (84, 78, 76), (96, 74, 60))[int(rng.integers(3))]
                ))  # fmt: skip
                setback = front + rng.uniform(0, 0.3)
                houses.append(
                    Building(s, s + length, side * setback, rng.uniform(9, 13), height,
                             int(rng.integers(FACADES)), roof, bool(rng.random() < 0.6))  # type: ignore[arg-type]
                )  # fmt: skip
                s += length + (rng.uniform(2, 6) if rng.random() < 0.25 else 0.0)
            else:
                for _ in range(int(rng.integers(3, 7))):
                    plants.append(
                        Plant(
                            s + rng.uniform(0, length),
                            side * (front + rng.uniform(2, 14)),
                            rng.uniform(0.7, 1.3),
                            int(rng.integers(TREES)),
                            False,  # noqa: FBT003
                            bool(rng.random() < 0.5),
                        )  # fmt: skip
                    )
                for step in range(int(length / 2.2)):
                    plants.append(
                        Plant(s + 2.2 * step, side * (front + 0.8), rng.uniform(0.7, 1.1),
                              int(rng.integers(BUSHES)), True, bool(rng.random() < 0.5))  # noqa: FBT003
                    )  # fmt: skip
                s += length
        return houses

    def _furnish(
        self,
        rng: np.random.Generator,
        span: tuple[float, float],
        side: float,
        plants: list[Plant],
        posts: list[Post],
    ) -> None:
        """Set lamps, signs and trees along the kerb, and bushes before the houses."""
        style = self.style
        begin, end = span
        kerb = style.profile.road + 0.55
        lamp_height, grey = rng.uniform(5.5, 7.5), rng.uniform(55, 150)
        gap = rng.uniform(17, 26)
        s = begin + rng.uniform(1, 8)
        while s < end:
            radius = rng.uniform(0.085, 0.12)
            posts.append(Post(s, side * kerb, lamp_height, radius, 1.6, grey, None))
            s += gap
        for s in rng.uniform(begin, end, int(rng.poisson(2.2))):
            colors = ((196.0, 30.0, 34.0), (34.0, 76.0, 166.0), (226.0, 196.0, 40.0))
            plate = colors[int(rng.integers(3))]
            posts.append(Post(float(s), side * kerb, 2.7, 0.055, 0.0, 130.0, plate))
        if rng.random() < 0.4:
            for s in np.arange(begin + 2, min(end, begin + 26), 3.0):  # bollards
                posts.append(Post(float(s), side * (kerb - 0.2), 1.0, 0.08, 0.0, grey, None))
        s = begin + rng.uniform(3, 12)
        while s < end - 2:
            if rng.random() < style.greenery:
                plants.append(
                    Plant(s, side * (kerb + 0.3), rng.uniform(0.6, 0.95), int(rng.integers(TREES)),
                          False, bool(rng.random() < 0.5))  # noqa: FBT003
                )  # fmt: skip
            s += rng.uniform(9, 15)
        if style.profile.front > style.profile.walk + 1:
            for s in np.arange(begin + 1, end - 1, 2.4):
                if rng.random() < style.greenery:
                    plants.append(
                        Plant(float(s), side * (style.profile.walk + 0.7), rng.uniform(0.5, 1.0),
                              int(rng.integers(BUSHES)), True, bool(rng.random() < 0.5))  # noqa: FBT003
                    )  # fmt: skip
