# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""Everything far away: sky, clouds, the sun's glow, a skyline and woods."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deeplab_miou.demo.canvas import BUILDING, SKY, VEGETATION, Bytes, Color
from deeplab_miou.demo.textures import fractal, to_bytes


@dataclass(frozen=True)
class Sky:
    """The weather above.

    Attributes:
        zenith: RGB overhead.
        low: RGB at the horizon.
        clouds: cover, 0..1.
        sun: (column, row) of the sun in the strip, None if hidden.
    """

    zenith: Color
    low: Color
    clouds: float
    sun: tuple[float, float] | None


def backdrop(
    rng: np.random.Generator, size: tuple[int, int], horizon: int, pixels_per_m: float, sky: Sky
) -> tuple[Bytes, Bytes]:
    """Paint everything far away, as a strip that is shifted as the car turns.

    Args:
        rng: source of all chances.
        size: (height, width) of the strip, pixels; below the horizon is haze.
        horizon: row of the horizon.
        pixels_per_m: image size of a metre at the distance of the skyline.
        sky: the weather.

    Returns:
        (height, width, 3) RGB and (height, width) train ids.
    """
    height, width = size
    rise = np.clip((horizon - np.arange(height, dtype=np.float32)) / horizon, 0, 1)
    zenith, low = np.array(sky.zenith, np.float32), np.array(sky.low, np.float32)
    blue = (low + (zenith - low) * (rise**0.7)[:, None])[:, None]
    # Clouds are flat layers: the lower over the horizon, the more compressed.
    reach = 1 / (rise + 0.12)
    noise = fractal(rng, 256, 1024, 5, 5)
    columns = (np.arange(width, dtype=np.float32) - width / 2)[None] * reach[:, None] * 0.22
    grid_x = (columns + 512).astype(np.float32)
    grid_y = np.broadcast_to((reach * 30)[:, None], grid_x.shape).astype(np.float32)
    field = cv2.remap(noise, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    cover = (
        np.clip((field - 0.55 + 1.1 * sky.clouds) * 2.2, 0, 1) * np.clip(rise * 9, 0, 1)[:, None]
    )
    puff = 255 - 50 * np.clip(field - 0.1, 0, 1) * (0.6 + sky.clouds)
    lift = np.array([0.98, 0.985, 1.0], np.float32) * (
        0.72 + 0.28 * min(1.0, float(low.mean()) / 210)
    )
    image = blue + cover[..., None] * (puff[..., None] * lift - blue)
    if sky.sun is not None:
        dx = np.arange(width, dtype=np.float32)[None] - sky.sun[0]
        dy = np.arange(height, dtype=np.float32)[:, None] - sky.sun[1]
        glow = np.exp(-np.sqrt(dx * dx + dy * dy) / (0.35 * horizon))
        image += glow[..., None] * np.array([120, 100, 60], np.float32)
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
    leaf = low * 0.55 + np.array([52, 74, 44], np.float32) * np.float32(0.45)
    texture = fractal(rng, height, width, 60, 2)
    image[woods] = (leaf * (1 + 0.1 * texture[..., None]))[woods]
    label[woods] = VEGETATION
    return to_bytes(image.astype(np.float32)), label
