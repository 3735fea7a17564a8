# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""Noise, and the fronts of houses: what the walls of the town are papered with.

All pictures are RGB uint8; every function draws its chances from the generator that it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from deeplab_miou.demo.canvas import Bytes, Floats


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
    glass = np.array([62, 76, 92], np.float32) * np.float32(rng.uniform(0.6, 1.5)) * ramp
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
        lit = (
            np.array([120, 108, 84], np.float32)
            if rng.random() < 0.4
            else np.array([50, 56, 64], np.float32)
        )
        pane[:] = to_bytes(np.broadcast_to(lit * ramp, pane.shape).astype(np.float32))
        for _ in range(4):  # goods on show
            x = int(rng.integers(0, max(1, pane.shape[1] - 8)))
            y = int(rng.integers(pane.shape[0] // 2, pane.shape[0]))
            pane[y:, x : x + int(rng.integers(3, 9))] = rng.integers(30, 190, 3).astype(np.uint8)
        cv2.rectangle(pane, (0, 0), (pane.shape[1] - 1, pane.shape[0] - 1), (40, 40, 42), 1)
    if rng.random() < 0.5:
        stripes = (np.arange(width) // 8 % 2)[None, :, None]
        cloth = np.where(stripes > 0, np.array([225, 220, 208], np.float32), sign)
        ramp = np.linspace(1.0, 0.7, 12, dtype=np.float32)[:, None, None]
        image[top + 12 : top + 24] = to_bytes((cloth * ramp).astype(np.float32))
