# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""The ground seen from above: asphalt, markings, kerbs, paving and grass."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deeplab_miou.demo.canvas import ROAD, SIDEWALK, VEGETATION, Bytes, Floats
from deeplab_miou.demo.textures import fractal, to_bytes

TEXEL_M = 0.04
GROUND_HALF_M = 15.0
GROUND_PERIOD_M = 36.0
CROSSING_M = 12.0


@dataclass(frozen=True)
class Profile:
    """The street's cross-section, metres from the centre line; the same on both sides.

    Attributes:
        road: half the width of the road, up to the kerb.
        lane: half the width of the two driving lanes; beyond it cars park.
        walk: outer edge of the sidewalk.
        front: where the houses stand.
    """

    road: float
    lane: float
    walk: float
    front: float


@dataclass(frozen=True)
class Ground:
    """The ground seen from above: one period of plain street, then one crossing.

    Attributes:
        levels: (rows, columns, 3) RGB, each blurred more along the street than the one before.
        label: (rows, columns) train ids.
        plain_rows: rows of plain street; the crossing's follow.
    """

    levels: tuple[Bytes, ...]
    label: Bytes
    plain_rows: int


def _crossing(across: Floats, along: Floats, profile: Profile) -> tuple[Floats, Floats]:
    """Return masks (road, paint) of a crossing with zebras; its texels' coordinates as floats."""
    side_street = (along > 2.6) & (along < CROSSING_M - 2.6)
    corner = np.maximum(np.abs(across) - profile.road, 0)
    reach = np.minimum(np.abs(along - 2.6), np.abs(along - CROSSING_M + 2.6))
    rounded = (corner < 1.2) & (np.hypot(corner - 1.2, reach - 1.2) > 1.2) & (reach < 1.2)
    road = side_street | (np.abs(across) < profile.road) | rounded
    zebra = ((along > 0.2) & (along < 2.4)) | (
        (along > CROSSING_M - 2.4) & (along < CROSSING_M - 0.2)
    )
    stripes = zebra & (np.mod(across, 1.0) < 0.5) & (np.abs(across) < profile.road - 0.4)
    return road.astype(np.float32), stripes.astype(np.float32)


def lay_ground(rng: np.random.Generator, profile: Profile, blur_m: float) -> Ground:
    """Lay asphalt, markings, kerbs, paving and grass.

    Args:
        rng: source of all chances.
        profile: the street's cross-section.
        blur_m: how far the camera moves while its shutter is open, metres.
    """
    columns = round(2 * GROUND_HALF_M / TEXEL_M)
    plain = round(GROUND_PERIOD_M / TEXEL_M)
    rows = plain + round(CROSSING_M / TEXEL_M)
    u = ((np.arange(columns, dtype=np.float32) + 0.5) * TEXEL_M - GROUND_HALF_M)[None]
    s = ((np.arange(rows, dtype=np.float32) + 0.5) * TEXEL_M)[:, None]
    distance = np.abs(u)
    road = np.broadcast_to(distance < profile.road, (rows, columns)).astype(np.float32)
    walk = np.broadcast_to(distance < profile.walk, (rows, columns)).astype(np.float32)
    paint = np.zeros((rows, columns), np.float32)
    dashes = (np.mod(s, 12.0) < 4.0) if rng.random() < 0.7 else (s >= 0)
    paint[:plain] = ((distance < 0.075) & dashes)[:plain]
    if profile.lane < profile.road - 1:  # parking bays
        edge = np.abs(distance - profile.lane) < 0.06
        paint[:plain] += (edge & (np.mod(s, 6.0) < 5.0))[:plain]
    crossing_road, crossing_paint = _crossing(u, s[plain:] - s[plain] + TEXEL_M / 2, profile)
    road[plain:], paint[plain:] = crossing_road, crossing_paint
    walk[plain:] = np.maximum(walk[plain:], crossing_road)

    grain = rng.random((rows, columns), np.float32) - np.float32(0.5)
    patches = fractal(rng, rows, columns, 6, 3)
    tracks = np.exp(-(((np.abs(distance - profile.lane / 2) - 0.8) / 0.35) ** 2))
    asphalt = _asphalt(rng, 0.09 * patches + 0.22 * grain - 0.07 * tracks, plain)
    worn = paint * np.clip(0.9 + 0.35 * patches + 0.3 * grain, 0.35, 1)

    paving = _slabs(rng, u, s) + 0.1 * grain + 0.04 * patches
    grass = 1 + 0.3 * patches + 0.5 * grain

    stone = np.array([1.0, rng.uniform(0.93, 0.99), rng.uniform(0.84, 0.98)], np.float32)
    stone *= np.float32(rng.uniform(125, 175))
    green = np.array([rng.uniform(70, 100), rng.uniform(95, 120), 52], np.float32)
    color = grass[..., None] * green
    color = np.where(walk[..., None] > 0, paving[..., None] * stone, color)
    color = np.where(
        road[..., None] > 0, asphalt[..., None] * np.array([0.98, 1, 1.03], np.float32), color
    )
    color += worn[..., None] * (np.array([222, 220, 210], np.float32) - color)
    _kerb(color, road)
    label = np.full((rows, columns), VEGETATION, np.uint8)
    label[walk > 0] = SIDEWALK
    label[road > 0] = ROAD

    base = to_bytes(color.astype(np.float32))
    levels = []
    for along_m, across_m in ((blur_m, 0.0), (0.35, 0.03), (1.4, 0.06), (5.0, 0.15)):
        kernel = (2 * round(across_m / TEXEL_M / 2) + 1, 2 * round(along_m / TEXEL_M / 2) + 1)
        levels.append(np.concatenate([_smear(base[:plain], kernel), _smear(base[plain:], kernel)]))
    return Ground(tuple(levels), label, plain)


def _asphalt(rng: np.random.Generator, texture: Floats, plain: int) -> Floats:
    """Return the brightness of worn asphalt with patches, filled cracks and manholes."""
    columns = texture.shape[1]
    grey = rng.uniform(84, 128)
    asphalt = grey * (1 + texture)
    for _ in range(int(rng.integers(2, 6))):
        x, y = int(rng.integers(0, columns)), int(rng.integers(0, plain))
        w, h = int(rng.integers(15, 70)), int(rng.integers(25, 200))
        asphalt[y : min(y + h, plain), x : x + w] *= rng.uniform(0.8, 0.95)
    for _ in range(int(rng.integers(3, 9))):
        start = rng.uniform(0, 1, 2) * (columns, plain)
        steps = np.cumsum(rng.uniform(-1, 1, (30, 2)) * (9, 14) + rng.uniform(-4, 4, 2), axis=0)
        line = np.rint(start + steps).astype(np.int32)[:, None]
        cv2.polylines(asphalt, [line], False, (grey * 0.8,), 1, cv2.LINE_AA)  # noqa: FBT003
    for _ in range(int(rng.integers(1, 4))):
        centre = (int(columns / 2 + rng.uniform(-3, 3) / TEXEL_M), int(rng.integers(60, plain)))
        cv2.circle(asphalt, centre, 8, (grey * 0.78,), -1, cv2.LINE_AA)
        cv2.circle(asphalt, centre, 8, (grey * 0.95,), 1, cv2.LINE_AA)
    return np.asarray(asphalt, np.float32)


def _slabs(rng: np.random.Generator, u: Floats, s: Floats) -> Floats:
    """Return the brightness of paving slabs, each of its own tint, with dark joints."""
    slab_u, slab_s = rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0)
    tint = rng.random((s.size // 8 + 1, u.size // 8 + 1), np.float32) - np.float32(0.5)
    index_s = (np.floor(s / slab_s) % tint.shape[0]).astype(np.intp)
    index_u = (np.floor((u + 50) / slab_u) % tint.shape[1]).astype(np.intp)
    joint = (np.mod(s, slab_s) < 0.035) | (np.mod(u + 50, slab_u) < 0.035)
    return np.asarray(1 + 0.1 * tint[index_s, index_u] - 0.16 * joint, np.float32)


def _kerb(color: Floats, road: Floats) -> None:
    """Draw a pale stone outside the road's edge and a dark gutter inside it."""
    inner = np.asarray(cv2.erode(road, np.ones((7, 7), np.uint8)))
    outer = np.asarray(cv2.dilate(road, np.ones((9, 9), np.uint8)))
    color[(road > 0) & (inner == 0)] *= np.float32(0.72)
    stone = (road == 0) & (outer > 0)
    color[stone] = color[stone] * np.float32(0.4) + np.float32(105)


def _smear(part: Bytes, kernel: tuple[int, int]) -> Bytes:
    """Box-blur a part of the ground that repeats along its rows."""
    margin = min(kernel[1] // 2, part.shape[0])
    padded = np.concatenate([part[part.shape[0] - margin :], part, part[:margin]])
    blurred = cv2.blur(padded, kernel)
    return np.asarray(blurred[margin : margin + part.shape[0]], np.uint8)
