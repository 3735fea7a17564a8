"""Walking people, drawn limb by limb in eight phases of a step, from the side and from the front."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from deeplab_miou.demo.canvas import Sprite

PHASES = 8
STRIDE_M = 1.5  # two steps
_SCALE = 160  # pixels per metre while drawing; halved afterwards, which smooths the edges
_HEIGHT_M, _WIDTH_M = 1.85, 1.1

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

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    top: tuple[int, int, int]
    legs: tuple[int, int, int]
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


def figure(look: Look, phase: int, *, side: bool, light_from: float) -> Sprite:
    """Draw a person.

    Args:
        look: clothes and stature.
        phase: 0..PHASES-1 of a stride.
        side: seen from the side (walking right), else from the front or back.
        light_from: -1 (left) to 1 (right).
    """
    rows, columns = int(_HEIGHT_M * _SCALE), int(_WIDTH_M * _SCALE)
    color = np.empty((rows, columns, 3), np.uint8)
    color[:] = look.top
    alpha = np.zeros((rows, columns), np.uint8)
    swing = math.sin(2 * math.pi * phase / PHASES)
    lift = abs(math.cos(2 * math.pi * phase / PHASES)) * 0.03

    def at(x: float, y: float) -> tuple[int, int]:
        return round(columns / 2 + x * _SCALE), round(rows - (y + lift) * _SCALE * look.stature)

    def limb(path: list[tuple[float, float]], thick: float, rgb: tuple[int, int, int],
             dim: float = 1.0) -> None:  # fmt: skip
        shade = tuple(float(v) * dim for v in rgb)
        width = max(1, round(thick * _SCALE))
        for a, b in zip(path[:-1], path[1:], strict=True):
            cv2.line(color, at(*a), at(*b), shade, width, cv2.LINE_AA)
            cv2.line(alpha, at(*a), at(*b), 255, width, cv2.LINE_AA)

    def blob(centre: tuple[float, float], radii: tuple[float, float],
             rgb: tuple[int, int, int]) -> None:  # fmt: skip
        axes = (round(radii[0] * _SCALE), round(radii[1] * _SCALE))
        shade = tuple(float(v) for v in rgb)
        cv2.ellipse(color, at(*centre), axes, 0, 0, 360, shade, -1, cv2.LINE_AA)
        cv2.ellipse(alpha, at(*centre), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)

    shoe = (40, 36, 34)
    for leg, dim in ((-1.0, 0.72), (1.0, 1.0)):
        reach = leg * swing
        if side:
            knee = (0.2 * reach + 0.05, 0.5)
            foot = (0.36 * reach - (0.06 if reach < 0 else 0.0), 0.05 + max(0.0, -reach) * 0.1)
            hip, arm_x = (0.0, 0.9), 0.0
        else:
            knee = (0.1 * leg, 0.5 + 0.03 * reach)
            foot = (0.1 * leg, 0.05 + 0.06 * max(0.0, reach))
            hip, arm_x = (0.09 * leg, 0.9), 0.24 * leg
        limb([hip, knee], 0.16, look.legs, dim)
        limb([knee, foot], 0.12, look.legs, dim)
        limb([foot, (foot[0] + (0.13 if side else 0.02 * leg), foot[1] - 0.01)], 0.09, shoe)
        if leg < 0:  # the far arm hangs behind the body
            _arm(limb, look, arm_x, -reach if side else 0.0, 0.75)
    trunk = 0.21 if side else 0.3
    limb([(0.0, 0.98), (0.02 if side else 0.0, 1.34)], trunk, look.top)
    if not side:
        limb([(-0.15, 1.36), (0.15, 1.36)], 0.15, look.top)
    if look.coat:
        limb([(0.0, 1.1), (0.0, 0.66)], trunk + 0.04, look.top, 0.92)
    if look.bag and side:
        blob((-0.16, 1.2), (0.11, 0.2), (58, 52, 60))
    _arm(limb, look, 0.0 if side else 0.24, swing * -1.0 if side else 0.0, 0.9)
    limb([(0.02, 1.42), (0.02, 1.55)], 0.1, look.skin, 0.85)
    blob((0.03 if side else 0.0, 1.62), (0.095, 0.125), look.skin)
    blob((-0.02 if side else 0.0, 1.69), (0.105, 0.08), look.hair)
    ramp = 1 + 0.4 * light_from * np.linspace(-0.5, 0.5, columns, dtype=np.float32)
    lit = np.clip(color * ramp[None, :, None], 0, 255).astype(np.uint8)
    half = (columns // 2, rows // 2)
    small = np.asarray(cv2.resize(lit, half, interpolation=cv2.INTER_AREA))
    mask = np.asarray(cv2.resize(alpha, half, interpolation=cv2.INTER_AREA))
    return Sprite.build(small, mask.astype(np.float32) / 255, _HEIGHT_M)


def _arm(limb, look: Look, x: float, swing: float, dim: float) -> None:  # noqa: ANN001
    elbow = (x * 1.15 + 0.14 * swing, 1.12)
    hand = (x * 1.1 + 0.3 * swing, 0.9)
    limb([(x * 0.9, 1.38), elbow, hand], 0.1, look.top, dim)
    limb([hand, (hand[0], hand[1] - 0.04)], 0.08, look.skin, dim)
