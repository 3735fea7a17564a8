# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""Trees and bushes: clouds of leaf clumps."""

from __future__ import annotations

import math

import cv2
import numpy as np

from deeplab_miou.demo.canvas import Sprite
from deeplab_miou.demo.textures import fractal, to_bytes


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
        r, g, b = (leaf * lit).tolist()
        dark = (r * 0.82, g * 0.82, b * 0.82)
        cv2.circle(color, (x, y), int(sizes[i]), dark, -1, cv2.LINE_AA)
        shift = (int(x + 0.2 * light_from * sizes[i]), int(y - 0.25 * sizes[i]))
        cv2.circle(color, shift, int(sizes[i] * 0.72), (r, g, b), -1, cv2.LINE_AA)
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
