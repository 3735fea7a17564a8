# ruff: noqa: PLR2004 -- the numbers are what people look like
"""Walking people, drawn limb by limb in eight phases of a step, from the side or the front."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from deeplab_miou.demo.canvas import Bytes, Sprite

if TYPE_CHECKING:
    from collections.abc import Sequence

Rgb: TypeAlias = "tuple[int, int, int]"

PHASES = 8
STRIDE_M = 1.5  # two steps
_SCALE = 160  # pixels per metre while drawing; halved afterwards, which smooths the edges
_HEIGHT_M, _WIDTH_M = 1.85, 1.1

_SHOE = (40, 36, 34)
_SKIN = ((224, 182, 150), (198, 150, 116), (150, 104, 76), (96, 66, 50))
_HAIR = ((40, 32, 28), (86, 60, 38), (150, 118, 70), (128, 124, 120))
_TOPS = (
    (40, 52, 84), (150, 44, 42), (48, 84, 62), (196, 190, 178), (64, 62, 66), (206, 150, 52),
    (112, 74, 116), (86, 120, 158), (122, 92, 66), (30, 32, 36), (210, 210, 206), (70, 96, 74),
)  # fmt: skip
_LEGS = ((38, 42, 58), (64, 60, 56), (116, 106, 88), (46, 46, 48), (88, 96, 112))


@dataclass(frozen=True)
class Look:
    """What somebody wears: RGB colours, body height as a factor, a coat, a bag."""

    skin: Rgb
    hair: Rgb
    top: Rgb
    legs: Rgb
    stature: float
    coat: bool
    bag: bool

    @staticmethod
    def draw(rng: np.random.Generator) -> Look:
        """Dress somebody by chance."""
        return Look(
            _SKIN[int(rng.integers(len(_SKIN)))],
            _HAIR[int(rng.integers(len(_HAIR)))],
            _TOPS[int(rng.integers(len(_TOPS)))],
            _LEGS[int(rng.integers(len(_LEGS)))],
            float(rng.uniform(0.86, 1.04)),
            bool(rng.random() < 0.35),
            bool(rng.random() < 0.35),
        )


class _Sketch:
    """Colours and opacity of a figure while it is drawn; coordinates in metres from the foot."""

    def __init__(self, look: Look, lift: float) -> None:
        rows, columns = int(_HEIGHT_M * _SCALE), int(_WIDTH_M * _SCALE)
        self.color: Bytes = np.empty((rows, columns, 3), np.uint8)
        self.color[:] = look.top
        self.alpha: Bytes = np.zeros((rows, columns), np.uint8)
        self._stature = look.stature
        self._lift = lift

    def _at(self, point: tuple[float, float]) -> tuple[int, int]:
        rows, columns = self.alpha.shape
        x, y = point
        return round(columns / 2 + x * _SCALE), round(
            rows - (y + self._lift) * _SCALE * self._stature
        )

    def limb(
        self, path: Sequence[tuple[float, float]], thick: float, rgb: Rgb, dim: float = 1.0
    ) -> None:
        """Draw a thick line with round ends."""
        r, g, b = (float(v) * dim for v in rgb)
        width = max(1, round(thick * _SCALE))
        for start, stop in pairwise(path):
            ends = self._at(start), self._at(stop)
            cv2.line(self.color, *ends, (r, g, b), width, cv2.LINE_AA)
            cv2.line(self.alpha, *ends, (255.0,), width, cv2.LINE_AA)

    def blob(self, centre: tuple[float, float], radii: tuple[float, float], rgb: Rgb) -> None:
        """Draw an ellipse."""
        axes = (round(radii[0] * _SCALE), round(radii[1] * _SCALE))
        for target, value in ((self.color, rgb), (self.alpha, (255,))):
            cv2.ellipse(target, self._at(centre), axes, 0, 0, 360, value, -1, cv2.LINE_AA)

    def arm(self, look: Look, x: float, swing: float, dim: float) -> None:
        """Draw an arm and its hand."""
        hand = (x * 1.1 + 0.3 * swing, 0.9)
        self.limb([(x * 0.9, 1.38), (x * 1.15 + 0.14 * swing, 1.12), hand], 0.1, look.top, dim)
        self.limb([hand, (hand[0], hand[1] - 0.04)], 0.08, look.skin, dim)

    def leg(self, look: Look, which: float, swing: float, *, side: bool) -> None:
        """Draw a leg and its shoe; `which` is -1 for the far or left one, 1 for the other."""
        reach, dim = which * swing, 0.72 if which < 0 else 1.0
        if side:
            hip, knee = (0.0, 0.9), (0.2 * reach + 0.05, 0.5)
            foot = (0.36 * reach - (0.06 if reach < 0 else 0.0), 0.05 + max(0.0, -reach) * 0.1)
            toe = (foot[0] + 0.13, foot[1] - 0.01)
        else:
            hip, knee = (0.09 * which, 0.9), (0.1 * which, 0.5 + 0.03 * reach)
            foot = (0.1 * which, 0.05 + 0.06 * max(0.0, reach))
            toe = (foot[0] + 0.02 * which, foot[1] - 0.01)
        self.limb([hip, knee], 0.16, look.legs, dim)
        self.limb([knee, foot], 0.12, look.legs, dim)
        self.limb([foot, toe], 0.09, _SHOE)


def figure(look: Look, phase: int, *, side: bool, light_from: float) -> Sprite:
    """Draw a person.

    Args:
        look: clothes and stature.
        phase: 0..PHASES-1 of a stride.
        side: seen from the side (walking right), else from the front or back.
        light_from: -1 (left) to 1 (right).
    """
    turn = 2 * math.pi * phase / PHASES
    swing = math.sin(turn)
    sketch = _Sketch(look, abs(math.cos(turn)) * 0.03)
    shoulder, trunk = (0.0, 0.21) if side else (0.24, 0.3)
    sketch.leg(look, -1.0, swing, side=side)
    sketch.arm(look, -shoulder, swing if side else 0.0, 0.75)  # behind the body
    sketch.leg(look, 1.0, swing, side=side)
    sketch.limb([(0.0, 0.98), (0.02 if side else 0.0, 1.34)], trunk, look.top)
    if not side:
        sketch.limb([(-0.15, 1.36), (0.15, 1.36)], 0.15, look.top)
    if look.coat:
        sketch.limb([(0.0, 1.1), (0.0, 0.66)], trunk + 0.04, look.top, 0.92)
    if look.bag and side:
        sketch.blob((-0.16, 1.2), (0.11, 0.2), (58, 52, 60))
    sketch.arm(look, shoulder, -swing if side else 0.0, 0.9)
    sketch.limb([(0.02, 1.42), (0.02, 1.55)], 0.1, look.skin, 0.85)
    sketch.blob((0.03 if side else 0.0, 1.62), (0.095, 0.125), look.skin)
    sketch.blob((-0.02 if side else 0.0, 1.69), (0.105, 0.08), look.hair)
    rows, columns = sketch.alpha.shape
    ramp = 1 + 0.4 * light_from * np.linspace(-0.5, 0.5, columns, dtype=np.float32)
    lit = np.clip(sketch.color * ramp[None, :, None], 0, 255).astype(np.uint8)
    half = (columns // 2, rows // 2)
    small = np.asarray(cv2.resize(lit, half, interpolation=cv2.INTER_AREA), np.uint8)
    mask = np.asarray(cv2.resize(sketch.alpha, half, interpolation=cv2.INTER_AREA), np.float32)
    return Sprite.build(small, mask / np.float32(255), _HEIGHT_M)
