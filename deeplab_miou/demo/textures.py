"""Procedural surfaces: ground, facades, sky and skyline, trees, bushes and walking people.

All arrays are RGB uint8; every function draws its chances from the generator that it is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deeplab_miou.demo.canvas import (
    BUILDING,
    ROAD,
    SIDEWALK,
    SKY,
    VEGETATION,
    Bytes,
    Floats,
    Sprite,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXEL_M = 0.04  # ground texture
GROUND_HALF_M = 15.0
GROUND_PERIOD_M = 36.0
CROSSING_M = 12.0
FACADE_PIXELS_PER_M = 16


def fractal(
    rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 4
) -> Floats:
    """Return smooth noise of about -1..1: octaves of random grids, `cells` across the height."""
    total = np.zeros((height, width), np.float32)
    amplitude = 1.0
    for octave in range(octaves):
        rows = max(2, cells << octave)
        columns = max(2, rows * width // height)
        grid = rng.random((min(rows, height), min(columns, width)), np.float32) * 2 - 1
        total += amplitude * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        amplitude *= 0.5
    return total / np.float32(1.4)


def to_bytes(values: Floats) -> Bytes:
    """Round to uint8, saturating."""
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


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


def ground(rng: np.random.Generator, profile: Profile, blur_m: float) -> Ground:
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
    grey = rng.uniform(84, 128)
    asphalt = grey * (1 + 0.09 * patches + 0.22 * grain - 0.07 * tracks)
    for _ in range(int(rng.integers(2, 6))):  # mended asphalt
        x, y = int(rng.integers(0, columns)), int(rng.integers(0, plain))
        w, h = int(rng.integers(15, 70)), int(rng.integers(25, 200))
        asphalt[y : min(y + h, plain), x : x + w] *= rng.uniform(0.8, 0.95)
    for _ in range(int(rng.integers(3, 9))):  # tar over cracks
        start = rng.uniform(0, 1, 2) * (columns, plain)
        steps = np.cumsum(rng.uniform(-1, 1, (30, 2)) * (9, 14) + rng.uniform(-4, 4, 2), axis=0)
        line = np.rint(start + steps).astype(np.int32)[:, None]
        cv2.polylines(asphalt, [line], False, grey * 0.8, 1, cv2.LINE_AA)  # noqa: FBT003
    for _ in range(int(rng.integers(1, 4))):  # manholes
        centre = (int(columns / 2 + rng.uniform(-3, 3) / TEXEL_M), int(rng.integers(60, plain)))
        cv2.circle(asphalt, centre, 8, grey * 0.78, -1, cv2.LINE_AA)
        cv2.circle(asphalt, centre, 8, grey * 0.95, 1, cv2.LINE_AA)
    worn = paint * np.clip(0.9 + 0.35 * patches + 0.3 * grain, 0.35, 1)

    slab_u, slab_s = rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0)
    tint = rng.random((rows // 8 + 1, columns // 8 + 1), np.float32) - np.float32(0.5)
    index_s = (np.floor(s / slab_s) % tint.shape[0]).astype(np.intp)
    index_u = (np.floor((u + 50) / slab_u) % tint.shape[1]).astype(np.intp)
    joint = (np.mod(s, slab_s) < 0.035) | (np.mod(u + 50, slab_u) < 0.035)
    paving = 1 + 0.1 * tint[index_s, index_u] + 0.1 * grain + 0.04 * patches - 0.16 * joint
    grass = 1 + 0.3 * patches + 0.5 * grain

    stone = np.array([1.0, rng.uniform(0.93, 0.99), rng.uniform(0.84, 0.98)], np.float32)
    stone *= np.float32(rng.uniform(125, 175))
    green = np.array([rng.uniform(70, 100), rng.uniform(95, 120), 52], np.float32)
    color = grass[..., None] * green
    color = np.where(walk[..., None] > 0, paving[..., None] * stone, color)
    color = np.where(road[..., None] > 0, asphalt[..., None] * np.float32([0.98, 1, 1.03]), color)
    color += worn[..., None] * (np.float32([222, 220, 210]) - color)
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


def facade(rng: np.random.Generator, *, blind: bool = False) -> Bytes:
    """Paint a house front of 12 m by 5 floors, or a side wall with few windows (`blind`)."""
    scale = FACADE_PIXELS_PER_M
    floors = 5
    width, height = 12 * scale, floors * 3 * scale
    walls = (
        (176, 160, 136), (150, 96, 76), (196, 186, 168), (140, 132, 126), (182, 142, 104),
        (160, 164, 168), (120, 78, 64), (206, 196, 150), (130, 140, 150),
    )  # fmt: skip
    wall = np.array(walls[int(rng.integers(len(walls)))], np.float32) * rng.uniform(0.85, 1.08)
    shade = 1 + 0.05 * fractal(rng, height, width, 3, 3)
    shade += 0.08 * (rng.random((height, width), np.float32) - 0.5)
    if rng.random() < 0.5:  # courses of brick or plaster
        shade[:: int(rng.integers(3, 7))] *= 0.93
    image = to_bytes(shade[..., None] * wall)
    bays = int(rng.integers(4, 7))
    bay, storey = width / bays, height / floors
    win_w, win_h = bay * rng.uniform(0.38, 0.62), storey * rng.uniform(0.48, 0.66)
    frame = (235, 232, 225) if rng.random() < 0.6 else (70, 66, 62)
    trim = tuple(float(v) for v in np.clip(wall * rng.uniform(1.08, 1.25), 0, 250))
    balconies = rng.random() < 0.3
    shop = rng.random() < 0.55 and not blind
    for floor in range(floors):
        top = floor * storey
        if floor == floors - 1 and shop:
            _shop(rng, image, round(top), height)
            continue
        for b in range(bays):
            if blind and rng.random() < 0.75:
                continue
            x0, x1 = round(b * bay + (bay - win_w) / 2), round(b * bay + (bay + win_w) / 2)
            y0, y1 = round(top + (storey - win_h) * 0.45), round(top + (storey + win_h) * 0.5)
            if floor == floors - 1 and b == bays // 2 and not blind:
                y1 = height  # the door
                y0 = round(height - 2.3 * scale)
                leaf = tuple(float(v) for v in rng.uniform(30, 110, 3))
                cv2.rectangle(image, (x0 - 2, y0 - 2), (x1 + 1, y1), trim, -1)
                cv2.rectangle(image, (x0, y0), (x1 - 1, y1), leaf, -1)
                continue
            cv2.rectangle(image, (x0 - 2, y0 - 3), (x1 + 1, y1 + 1), trim, -1)
            _window(rng, image[y0:y1, x0:x1], frame)
            cv2.rectangle(image, (x0 - 3, y1), (x1 + 2, y1 + 1), trim, -1)
            image[y1 + 2 : y1 + 4, x0 - 2 : x1 + 3] //= 2
            if balconies and floor < floors - 1 and b % 2 == 0:
                cv2.rectangle(image, (x0 - 6, y1 - 8), (x1 + 5, y1 + 1), (60, 60, 62), 1)
                image[y1 - 7 : y1, x0 - 5 : x1 + 5 : 2] //= 2
                image[y1 + 2 : y1 + 6, x0 - 6 : x1 + 6] //= 2
        if floor and rng.random() < 0.6:
            cv2.rectangle(image, (0, round(top) - 1), (width, round(top)), trim, -1)
    cv2.rectangle(image, (0, 0), (width, 4), trim, -1)  # cornice and its shadow
    image[5:9] = (image[5:9] * np.float32(0.6)).astype(np.uint8)
    image[:, [0, 1, -2, -1]] = (image[:, [0, 1, -2, -1]] * np.float32(0.75)).astype(np.uint8)
    return image


def _window(rng: np.random.Generator, pane: Bytes, frame: tuple[int, int, int]) -> None:
    """Fill a window: glass that mirrors the sky, a curtain, a cross of bars."""
    h, w = pane.shape[:2]
    ramp = np.linspace(1.25, 0.55, h, dtype=np.float32)[:, None, None]
    glass = np.float32([62, 76, 92]) * np.float32(rng.uniform(0.6, 1.5)) * ramp
    pane[:] = to_bytes(np.broadcast_to(glass, pane.shape).astype(np.float32))
    chance = rng.random()
    if chance < 0.35:
        curtain = round(w * 0.27)
        pane[:, :curtain] = pane[:, w - curtain :] = (176, 170, 158)
    elif chance < 0.5:
        pane[: round(h * rng.uniform(0.2, 0.8))] = (196, 190, 176)
    cv2.rectangle(pane, (0, 0), (w - 1, h - 1), frame, 1)
    pane[:, w // 2] = frame
    pane[h // 3] = frame


def _shop(rng: np.random.Generator, image: Bytes, top: int, bottom: int) -> None:
    """Fill the ground floor with shop windows under a coloured sign or awning."""
    width = image.shape[1]
    sign = np.array(rng.uniform(30, 200, 3), np.float32)
    image[top + 2 : bottom] = (image[top + 2 : bottom] * np.float32(0.6)).astype(np.uint8)
    image[top + 4 : top + 13] = sign.astype(np.uint8)
    doors = int(rng.integers(3, 5))
    for i in range(doors):
        x0, x1 = i * width // doors + 5, (i + 1) * width // doors - 5
        pane = image[top + 15 : bottom - 6, x0:x1]
        ramp = np.linspace(0.7, 1.2, pane.shape[0], dtype=np.float32)[:, None, None]
        lit = np.float32([120, 108, 84]) if rng.random() < 0.4 else np.float32([50, 56, 64])
        pane[:] = to_bytes(np.broadcast_to(lit * ramp, pane.shape).astype(np.float32))
        for _ in range(4):  # goods on show
            x = int(rng.integers(0, max(1, pane.shape[1] - 8)))
            y = int(rng.integers(pane.shape[0] // 2, pane.shape[0]))
            pane[y:, x : x + int(rng.integers(3, 9))] = rng.integers(30, 190, 3).astype(np.uint8)
        cv2.rectangle(pane, (0, 0), (pane.shape[1] - 1, pane.shape[0] - 1), (40, 40, 42), 1)
    if rng.random() < 0.5:
        stripes = (np.arange(width) // 8 % 2)[None, :, None]
        cloth = np.where(stripes > 0, np.float32([225, 220, 208]), sign)
        ramp = np.linspace(1.0, 0.7, 12, dtype=np.float32)[:, None, None]
        image[top + 12 : top + 24] = to_bytes((cloth * ramp).astype(np.float32))


def backdrop(  # noqa: PLR0914 -- sky, clouds, skyline and trees are one picture
    rng: np.random.Generator,
    width: int,
    horizon: int,
    height: int,
    pixels_per_m: float,
    sky: Sequence[Sequence[float]],
    clouds: float,
    sun: tuple[float, float] | None,
) -> tuple[Bytes, Bytes]:
    """Paint everything far away, as a strip that is shifted as the car turns.

    Args:
        rng: source of all chances.
        width: columns of the strip.
        horizon: row of the horizon.
        height: rows; below the horizon is haze.
        pixels_per_m: image size of a metre at the distance of the skyline.
        sky: RGB at the zenith and at the horizon.
        clouds: cover, 0..1.
        sun: (column, row) of the sun's glow, None if hidden.

    Returns:
        (height, width, 3) RGB and (height, width) train ids.
    """
    rise = np.clip((horizon - np.arange(height, dtype=np.float32)) / horizon, 0, 1)
    zenith, low = np.float32(sky[0]), np.float32(sky[1])
    blue = (low + (zenith - low) * (rise**0.7)[:, None])[:, None]
    # Clouds are flat layers: the lower over the horizon, the more compressed.
    reach = 1 / (rise + 0.12)
    noise = fractal(rng, 256, 1024, 5, 5)
    columns = (np.arange(width, dtype=np.float32) - width / 2)[None] * reach[:, None] * 0.22
    grid_x = (columns + 512).astype(np.float32)
    grid_y = np.broadcast_to((reach * 30)[:, None], grid_x.shape).astype(np.float32)
    field = cv2.remap(noise, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    cover = np.clip((field - 0.55 + 1.1 * clouds) * 2.2, 0, 1) * np.clip(rise * 9, 0, 1)[:, None]
    puff = 255 - 50 * np.clip(field - 0.1, 0, 1) * (0.6 + clouds)
    lift = np.float32([0.98, 0.985, 1.0]) * (0.72 + 0.28 * min(1.0, float(low.mean()) / 210))
    image = blue + cover[..., None] * (puff[..., None] * lift - blue)
    if sun is not None:
        dx = np.arange(width, dtype=np.float32)[None] - sun[0]
        dy = np.arange(height, dtype=np.float32)[:, None] - sun[1]
        glow = np.exp(-np.sqrt(dx * dx + dy * dy) / (0.35 * horizon))
        image += glow[..., None] * np.float32([120, 100, 60])
    label = np.full((height, width), SKY, np.uint8)
    x = 0
    while x < width:  # houses far away
        w = int(rng.uniform(8, 24) * pixels_per_m) + 4
        h = int(rng.uniform(5, 17) * pixels_per_m) + 2
        if rng.random() < 0.75:
            shade = low * 0.72 + np.float32(rng.uniform(60, 140, 3)) * np.float32(0.26)
            block = image[horizon - h : horizon + 2, x : x + w]
            block[:] = shade
            block[2::4, 1::3] *= np.float32(0.88)
            label[horizon - h : horizon + 2, x : x + w] = BUILDING
        x += w
    crown = fractal(rng, 64, width, 2, 6)[32]
    tops = horizon - pixels_per_m * (4.5 + 4.0 * crown)
    woods = (np.arange(height)[:, None] >= tops[None]) & (np.arange(height)[:, None] <= horizon + 2)
    leaf = low * 0.55 + np.float32([52, 74, 44]) * np.float32(0.45)
    texture = fractal(rng, height, width, 60, 2)
    image[woods] = (leaf * (1 + 0.1 * texture[..., None]))[woods]
    label[woods] = VEGETATION
    return to_bytes(image.astype(np.float32)), label


def tree(rng: np.random.Generator, light_from: float, *, bush: bool = False) -> Sprite:
    """Grow a tree (8 m) or a bush (1.6 m): a cloud of leaf clumps, lit from one side and above.

    Args:
        rng: source of all chances.
        light_from: -1 (left) to 1 (right).
        bush: leave out the trunk.
    """
    height, width = (96, 192) if bush else (320, 256)
    leaf = np.array([rng.uniform(52, 104), rng.uniform(86, 122), rng.uniform(36, 62)], np.float32)
    color = np.empty((height, width, 3), np.uint8)
    color[:] = to_bytes(leaf * np.float32(0.7))
    alpha = np.zeros((height, width), np.uint8)
    crown_y, crown_ry = (0.56, 0.36) if bush else (0.36, 0.32)
    crown_rx = 0.42 if bush else rng.uniform(0.32, 0.42)
    if not bush:
        bark = (float(rng.uniform(62, 92)), float(rng.uniform(54, 74)), 50.0)
        foot = width // 2
        thick = int(rng.integers(7, 11))
        stem = np.array(
            [[foot - thick, height], [foot - thick // 2, 150], [foot + thick // 2, 150],
             [foot + thick, height]], np.int32,
        )  # fmt: skip
        for target, value in ((color, bark), (alpha, (255.0,))):
            cv2.fillConvexPoly(target, stem, value, cv2.LINE_AA)
            for side in (-1, 1):
                tip = (foot + side * 45, 110 + 15 * side)
                cv2.line(target, (foot, 190), tip, value, 5, cv2.LINE_AA)
        cv2.line(color, (foot + int(light_from * 2), 160), (foot, height),
                 (bark[0] * 1.3, bark[1] * 1.3, bark[2] * 1.3), 2)  # fmt: skip
    clumps, dots = (40, 700) if bush else (110, 2200)
    angle = rng.uniform(0, 2 * math.pi, clumps)
    radius = np.sqrt(rng.random(clumps)) * 0.86
    centres = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    sizes = rng.uniform(0.12, 0.32, clumps) * crown_rx * width
    if bush:
        sizes *= 0.5
    squeeze = np.array([crown_rx * width, crown_ry * height])
    middle = np.array([width / 2, crown_y * height])
    for centre, size in zip(centres, sizes, strict=True):
        x, y = (int(v) for v in np.rint(middle + centre * squeeze))
        cv2.circle(alpha, (x, y), int(size), 255, -1, cv2.LINE_AA)
    order = np.argsort(-centres[:, 1])  # lower, darker clumps first
    for i in order:
        x, y = (int(v) for v in np.rint(middle + centres[i] * squeeze))
        lit = 0.8 - 0.3 * centres[i, 1] + 0.2 * light_from * centres[i, 0] + rng.uniform(-0.1, 0.1)
        value = tuple(float(v) for v in leaf * lit)
        cv2.circle(color, (x, y), int(sizes[i]), tuple(v * 0.82 for v in value), -1, cv2.LINE_AA)
        shift = (int(x + 0.2 * light_from * sizes[i]), int(y - 0.25 * sizes[i]))
        cv2.circle(color, shift, int(sizes[i] * 0.72), value, -1, cv2.LINE_AA)
    spots = rng.uniform(-1, 1, (dots, 2)) * squeeze * 1.02 + middle
    gains = rng.uniform(0.76, 1.26, dots)
    for spot, gain in zip(np.rint(spots).astype(int), gains, strict=True):
        x, y = int(spot[0]), int(spot[1])
        if 0 <= x < width and 0 <= y < height and alpha[y, x]:
            patch = color[y, x] * gain
            cv2.circle(color, (x, y), 2, tuple(float(v) for v in np.clip(patch, 0, 255)), -1)
    ragged = fractal(rng, height, width, 24, 3)
    soft = cv2.GaussianBlur(alpha, (0, 0), 2.0).astype(np.float32) / 255
    opacity = np.clip((soft + 0.35 * ragged * (soft < 0.98) - 0.42) * 4, 0, 1)
    if not bush:
        below = int((crown_y + crown_ry * 0.8) * height)
        opacity[below:] = alpha[below:].astype(np.float32) / 255
    opacity[0] = opacity[:, 0] = opacity[:, -1] = 0
    return Sprite.build(color, opacity.astype(np.float32), 1.6 if bush else 8.0)
