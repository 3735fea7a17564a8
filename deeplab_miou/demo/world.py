"""The road of a drive and what is along it: crossings, blocks and traffic by seed.

Everything is a function of the seed, of the place along the road and of time: any frame can be
rendered first, and a drive has no end.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.demo.blocks import Block, build_block
from deeplab_miou.demo.ground import CROSSING_M
from deeplab_miou.demo.style import Style
from deeplab_miou.demo.vehicles import Vehicle

if TYPE_CHECKING:
    from deeplab_miou.demo.canvas import Points

VISIBLE_M = 150.0
BEHIND_M = 15.0
BLOCK_M = 130.0
# One stream of chances for each purpose, so that a change in one leaves the others as they are.
_STYLE, _BLOCK, _CROSSING, FRAME, _TRAFFIC, ASSETS = range(6)


def chances(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one purpose of one drive."""
    return np.random.default_rng([seed, *(k & 0xFFFFFFFF for k in key)])


class World:
    """A drive's road and surroundings, built block by block.

    Args:
        seed: which drive.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.style = Style.draw(chances(seed, _STYLE))
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
        begin, end = self.crossing(index) + CROSSING_M, self.crossing(index + 1)
        return build_block(chances(self.seed, _BLOCK, index), self.style, begin, end)
