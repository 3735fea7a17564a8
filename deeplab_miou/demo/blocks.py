# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""What stands between two crossings: houses, plants, posts, parked cars and people."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.demo.ground import CROSSING_M
from deeplab_miou.demo.vehicles import Vehicle

if TYPE_CHECKING:
    from deeplab_miou.demo.style import Style

FACADES = 7
TREES = 4
BUSHES = 2
LOOKS = 12


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


@dataclass
class _Street:
    """A block while it is being built."""

    style: Style
    begin: float
    end: float
    buildings: list[Building] = field(default_factory=list)
    plants: list[Plant] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    walkers: list[Walker] = field(default_factory=list)


def build_block(rng: np.random.Generator, style: Style, begin: float, end: float) -> Block:
    """Build everything between two crossings.

    Args:
        rng: source of all chances.
        style: the drive's character.
        begin: where the crossing before it ends, metres along the road.
        end: where the next crossing begins.
    """
    street = _Street(style, begin, end)
    for side in (-1.0, 1.0):
        _build_frontage(rng, street, side)
        _set_posts(rng, street, side)
        _plant(rng, street, side)
        _park(rng, street, side)
        width = style.profile.walk - style.profile.road
        for _ in range(int(rng.poisson(13.0 * style.crowd))):
            u = side * (style.profile.road + 0.6 + rng.uniform(0, 1) * (width - 1.2))
            start = rng.uniform(0, 2 * (end - begin))
            look = int(rng.integers(LOOKS))
            street.walkers.append(Walker(begin, end, start, rng.uniform(1.0, 1.6), u, look))
    zebras = (begin - CROSSING_M + 1.3, begin - 1.3)
    crossers = tuple(
        Crosser(
            s=zebras[0 if rng.random() < 0.5 else 1] + rng.uniform(-0.7, 0.7),
            side=-1.0 if rng.random() < 0.5 else 1.0,
            lead=rng.uniform(0, 25),
            look=int(rng.integers(LOOKS)),
        )
        for _ in range(int(rng.poisson(4.0 * style.crowd)))
    )
    return Block(
        tuple(street.buildings),
        tuple(street.plants),
        tuple(street.posts),
        tuple(street.parked),
        tuple(street.walkers),
        crossers,
    )


def _build_frontage(rng: np.random.Generator, street: _Street, side: float) -> None:
    """Build houses along one side; gaps become gardens with trees behind a hedge."""
    front = street.style.profile.front
    storeys = rng.uniform(2, 5)
    roofs = ((122, 62, 46), (84, 78, 76), (96, 74, 60))
    s = street.begin + rng.uniform(0, 2)
    while s < street.end - 7:
        length = min(float(rng.uniform(8, 19)), street.end - s)
        if rng.random() < street.style.houses:
            height = 3.1 * max(1.6, storeys + rng.uniform(-1.2, 1.2))
            fade = rng.uniform(0.8, 1.1)
            r, g, b = roofs[int(rng.integers(3))]
            house = Building(
                s0=s,
                s1=s + length,
                u=side * (front + rng.uniform(0, 0.3)),
                depth=rng.uniform(9, 13),
                height=height,
                facade=int(rng.integers(FACADES)),
                roof=(r * fade, g * fade, b * fade),
                pitched=bool(rng.random() < 0.6),
            )
            street.buildings.append(house)
            s += length + (rng.uniform(2, 6) if rng.random() < 0.25 else 0.0)
        else:
            for _ in range(int(rng.integers(3, 7))):
                place = s + rng.uniform(0, length), side * (front + rng.uniform(2, 14))
                street.plants.append(_tree(rng, *place, rng.uniform(0.7, 1.3)))
            for step in range(int(length / 2.2)):
                scale = rng.uniform(0.7, 1.1)
                street.plants.append(_bush(rng, s + 2.2 * step, side * (front + 0.8), scale))
            s += length


def _set_posts(rng: np.random.Generator, street: _Street, side: float) -> None:
    """Set lamps, signs and bollards along the kerb."""
    begin, end = street.begin, street.end
    kerb = street.style.profile.road + 0.55
    height, grey, gap = rng.uniform(5.5, 7.5), rng.uniform(55, 150), rng.uniform(17, 26)
    s = begin + rng.uniform(1, 8)
    while s < end:
        radius = rng.uniform(0.085, 0.12)
        street.posts.append(Post(s, side * kerb, height, radius, 1.6, grey, None))
        s += gap
    plates = ((196.0, 30.0, 34.0), (34.0, 76.0, 166.0), (226.0, 196.0, 40.0))
    for place in rng.uniform(begin, end, int(rng.poisson(2.2))).tolist():
        plate = plates[int(rng.integers(3))]
        street.posts.append(Post(place, side * kerb, 2.7, 0.055, 0.0, 130.0, plate))
    if rng.random() < 0.4:
        u = side * (kerb - 0.2)
        bollards = np.arange(begin + 2, min(end, begin + 26), 3.0).tolist()
        street.posts.extend(Post(s, u, 1.0, 0.08, 0.0, grey, None) for s in bollards)


def _plant(rng: np.random.Generator, street: _Street, side: float) -> None:
    """Plant trees along the kerb, and bushes before the houses where there is room."""
    profile, greenery = street.style.profile, street.style.greenery
    s = street.begin + rng.uniform(3, 12)
    while s < street.end - 2:
        if rng.random() < greenery:
            scale = rng.uniform(0.6, 0.95)
            street.plants.append(_tree(rng, s, side * (profile.road + 0.85), scale))
        s += rng.uniform(9, 15)
    if profile.front > profile.walk + 1:
        for place in np.arange(street.begin + 1, street.end - 1, 2.4).tolist():
            if rng.random() < greenery:
                scale = rng.uniform(0.5, 1.0)
                street.plants.append(_bush(rng, place, side * (profile.walk + 0.7), scale))


def _park(rng: np.random.Generator, street: _Street, side: float) -> None:
    """Park cars at the kerb, most of them facing the way that the lane goes."""
    s = street.begin + 7
    while s < street.end - 7:
        if rng.random() < street.style.parking:
            u = side * (street.style.profile.road - 1.15 + rng.uniform(-0.1, 0.1))
            reverse = bool((side < 0) == (rng.random() < 0.9))
            street.parked.append(Parked(s, u, Vehicle.draw(rng), reverse))
        s += rng.uniform(5.6, 7.0)


def _tree(rng: np.random.Generator, s: float, u: float, scale: float) -> Plant:
    kind = int(rng.integers(TREES))
    return Plant(s, u, scale, kind, bush=False, mirrored=bool(rng.random() < 0.5))


def _bush(rng: np.random.Generator, s: float, u: float, scale: float) -> Plant:
    kind = int(rng.integers(BUSHES))
    return Plant(s, u, scale, kind, bush=True, mirrored=bool(rng.random() < 0.5))
