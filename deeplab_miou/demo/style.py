# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""The character of a drive: street, weather, light, lens and traffic, by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.demo.ground import Profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.demo.canvas import Color


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
    zenith: Color
    low: Color
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
    def draw(rng: np.random.Generator) -> Style:
        """Choose the character of a drive."""
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
            zenith=_color(np.clip(blue * shade, 0, 235)),
            low=_color(np.clip(low * shade, 0, 245)),
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


def _color(values: NDArray[np.float64]) -> Color:
    r, g, b = values.tolist()
    return r, g, b
