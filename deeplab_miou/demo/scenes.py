"""Rendered road scenes: a drive through a town, one frame for any moment of it, with its labels.

The renderer is a painter: sky and skyline, the ground by ray and texture, then everything that
stands on it from far to near, then what a camera does to light (shutter, focus, exposure, noise).
Only NumPy and OpenCV are used. The same seed and time give the same bytes with the pinned
versions, in any order, process and number of threads; with the vector code of NumPy or of OpenCV
switched off on x86-64 no byte was seen to change. Other processor families and versions are
untested: where their `sin` or `exp` rounds differently, pixels may move, never objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from deeplab_miou.demo.blocks import BUSHES, FACADES, LOOKS, TREES
from deeplab_miou.demo.canvas import IGNORE, POLE, Bytes, Camera, Canvas, mips
from deeplab_miou.demo.ground import CROSSING_M, GROUND_HALF_M, TEXEL_M, Ground, lay_ground
from deeplab_miou.demo.horizon import Sky, backdrop
from deeplab_miou.demo.people import Look
from deeplab_miou.demo.plants import tree
from deeplab_miou.demo.situation import Situation
from deeplab_miou.demo.textures import facade
from deeplab_miou.demo.things import Assets, ThingPainter
from deeplab_miou.demo.world import ASSETS, FRAME, World, chances

_SHUTTER_S = 0.012
_LEVELS_M = (9.0, 20.0, 42.0)  # from here on the ground's next level
_BELOW = 0.12  # of the strip's far scenery below the horizon, in image heights


@dataclass(frozen=True)
class Scene:
    """One frame of a drive.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) uint8 Cityscapes train ids: road 0, sidewalk 1, building 2, pole 5,
            vegetation 8 (grass too), sky 10, person 11, car 13; 255 (ignore) on the borders
            between objects, on traffic signs and on poles and people too small to annotate.
    """

    image: Bytes
    label: Bytes


@dataclass(frozen=True)
class _Views:
    """What is as wide as the view: ground, far scenery and its labels, noise, fall-off of light."""

    ground: Ground
    far: Bytes
    far_label: Bytes
    noise: Bytes
    vignette: Bytes


class SceneRenderer:
    """A camera on a car that drives through a town; another seed, another town and weather.

    Args:
        seed: which drive, >= 0.
        height: image rows, pixels.
        width: image columns, pixels.
    """

    def __init__(self, seed: int, height: int = 480, width: int = 640) -> None:
        self.seed, self.height, self.width = seed, height, width
        self._world = World(seed)
        self._style = self._world.style
        self._focal = self._style.focal * width
        self._views, assets = self._make_assets()
        self._things = ThingPainter(self._style, assets)

    def render(self, time_s: float) -> Scene:
        """Render the frame at a moment of the drive, any time in any order.

        Args:
            time_s: seconds since the drive began, >= 0.
        """
        situation = Situation(self._world, time_s)
        rng = chances(self.seed, FRAME, round(time_s * 1000))
        pitch = self._focal * (
            0.004 * math.sin(2.1 * time_s + self.seed) + 0.003 * math.sin(5.7 * time_s)
        )
        camera = Camera(
            focal=self._focal,
            center_x=self.width / 2,
            horizon=self._style.horizon * self.height + pitch,
            x=self._style.profile.lane / 2 + 0.15 * math.sin(0.4 * time_s),
            y=self._style.camera_height,
            yaw=0.012 * math.sin(0.5 * time_s + 1),
        )
        canvas = Canvas(camera, self.height, self.width, self._style.low, self._style.visibility)
        bearing = self._style.sun_azimuth - situation.heading
        flat, up = math.cos(self._style.sun_elevation), math.sin(self._style.sun_elevation)
        sun = np.array([math.sin(bearing) * flat, up, math.cos(bearing) * flat])
        self._paint_backdrop(canvas, situation)
        self._paint_ground(canvas, situation)
        self._things.cast_shadows(canvas, situation, sun)
        self._things.paint(canvas, situation, sun * self._things.sun_strength)
        image = self._expose(canvas.image, situation, rng)
        return Scene(image, outlined(canvas.label))

    def _make_assets(self) -> tuple[_Views, Assets]:
        rng = chances(self.seed, ASSETS)
        style = self._style
        sideways = math.sin(style.sun_azimuth) * (1 - style.overcast)
        horizon = round(self.height * 0.62)
        strip = horizon + round(_BELOW * self.height), round(2.4 * self._focal) + self.width
        column = style.sun_azimuth * self._focal + strip[1] / 2
        row = horizon - math.tan(style.sun_elevation) * self._focal
        sun = (column, row) if style.overcast < 0.5 else None  # noqa: PLR2004 -- half covered
        sky = Sky(style.zenith, style.low, style.clouds, sun)
        far, far_label = backdrop(rng, strip, horizon, self._focal / 190, sky)
        noise = np.clip(rng.normal(128, 26, (self.height + 64, self.width + 64, 3)), 0, 255)
        y = (np.arange(self.height) - self.height / 2)[:, None] / self.width
        x = (np.arange(self.width) - self.width / 2)[None] / self.width
        fall = 255 * (1 - 0.42 * (x * x + y * y))
        views = _Views(
            ground=lay_ground(rng, style.profile, _SHUTTER_S * style.speed),
            far=far,
            far_label=far_label,
            noise=noise.astype(np.uint8),
            vignette=np.repeat(fall[..., None], 3, axis=2).astype(np.uint8),
        )
        assets = Assets(
            fronts=tuple(mips(facade(rng)) for _ in range(FACADES)),
            sides=tuple(mips(facade(rng, blind=True)) for _ in range(2)),
            trees=tuple(tree(rng, sideways) for _ in range(TREES)),
            bushes=tuple(tree(rng, sideways, bush=True) for _ in range(BUSHES)),
            looks=tuple(Look.draw(rng) for _ in range(LOOKS)),
        )
        return views, assets

    def _paint_backdrop(self, canvas: Canvas, situation: Situation) -> None:
        views = self._views
        turn = float(situation.heading) + canvas.camera.yaw
        rows, columns = views.far_label.shape
        left = round(columns / 2 + turn * self._focal - self.width / 2)
        left = min(max(left, 0), columns - self.width)
        below = rows - round(_BELOW * self.height) - round(canvas.camera.horizon)
        bottom = min(self.height, rows - below)
        view = slice(left, left + self.width)
        canvas.image[:bottom] = views.far[below : below + bottom, view]
        canvas.label[:bottom] = views.far_label[below : below + bottom, view]

    def _paint_ground(self, canvas: Canvas, situation: Situation) -> None:
        camera, ground = canvas.camera, self._views.ground
        top = math.floor(camera.horizon) + 2
        rows = np.arange(top, self.height) + 0.5
        depth = camera.focal * camera.y / (rows - camera.horizon)
        path = camera.see(np.stack([situation.x, np.zeros_like(situation.x), situation.z], axis=1))
        middle = np.interp(depth, path[:, 2], path[:, 0])
        course = np.interp(depth, path[:, 2], situation.bearing) - camera.yaw
        ahead = np.interp(depth, path[:, 2], situation.ahead)
        columns = (np.arange(self.width) + 0.5 - camera.center_x) / camera.focal
        offset = np.multiply.outer(depth, columns) - middle[:, None]
        u = (offset * np.cos(course)[:, None]).astype(np.float32)
        s = (situation.s + ahead)[:, None] + offset * np.sin(course)[:, None]
        plain = ground.plain_rows * TEXEL_M
        along = np.mod(s, plain)
        for begin in self._world.crossings(situation.s):
            inside = (s >= begin) & (s < begin + CROSSING_M)
            if inside.any():
                along = np.where(inside, s - begin + plain, along)
        limit = GROUND_HALF_M - TEXEL_M
        map_x = (np.clip(u, -limit, limit) + GROUND_HALF_M) / TEXEL_M - 0.5
        map_y = (along / TEXEL_M - 0.5).astype(np.float32)
        map_x = map_x.astype(np.float32)
        edges = [len(rows), *(int(np.searchsorted(-depth, -limit_m)) for limit_m in _LEVELS_M), 0]
        for level, (stop, start) in enumerate(pairwise(edges)):
            if stop <= start:
                continue
            canvas.image[top + start : top + stop] = cv2.remap(
                ground.levels[level], map_x[start:stop], map_y[start:stop], cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
        canvas.label[top:] = cv2.remap(
            ground.label, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        fade = (1 - np.exp(-depth / self._style.visibility)).astype(np.float32)[:, None, None]
        far = int(np.searchsorted(-depth, -_LEVELS_M[0]))
        view = canvas.image[top : top + far]
        haze = np.array(self._style.low, np.float32)
        view[:] = (view * (1 - fade[:far]) + haze * fade[:far]).astype(np.uint8)

    def _expose(self, image: Bytes, situation: Situation, rng: np.random.Generator) -> Bytes:
        """Do to the picture what a camera does."""
        t, style = situation.time_s, self._style
        # Shutter: turning smears sideways. Focus: drifts a little, sharp most of the time.
        smear = abs(situation.turn_rate) * self._focal * _SHUTTER_S
        if smear > 1.2:  # noqa: PLR2004 -- less is not to be seen
            image = np.asarray(cv2.blur(image, (2 * round(smear / 2) + 1, 1)), np.uint8)
        defocus = 0.45 + 0.9 * max(0.0, math.sin(0.31 * t + self.seed) - 0.6)
        image = np.asarray(cv2.GaussianBlur(image, (5, 5), defocus * self.height / 480), np.uint8)
        image = np.asarray(cv2.multiply(image, self._views.vignette, scale=1 / 255), np.uint8)
        gain = 1.08 + 0.09 * math.sin(0.23 * t + 2.0 * self.seed) + 0.04 * math.sin(1.1 * t)
        ramp = np.arange(256, dtype=np.float64) / 255
        curve = np.empty((256, 1, 3))
        for channel, warmth in enumerate((style.warmth, 0.0, -style.warmth)):
            linear = np.clip(ramp * gain * (1 + warmth), 0, 1.3)
            curve[:, 0, channel] = 255 * (1 - (1 - np.clip(linear / 1.12, 0, 1)) ** 1.25)
        table = np.clip(curve + 0.5, 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), np.uint8)
        y, x = int(rng.integers(64)), int(rng.integers(64))
        noise = self._views.noise[y : y + self.height, x : x + self.width]
        weight = style.noise / 26
        return np.asarray(cv2.addWeighted(image, 1.0, noise, weight, -128 * weight), np.uint8)


def outlined(label: Bytes) -> Bytes:
    """Set the pixels on borders between classes to ignore; poles, being thin, keep theirs.

    Args:
        label: (H, W) uint8 train ids.

    Returns:
        (H, W) uint8, where every border is ignored one pixel to either side.
    """
    kernel = np.ones((3, 3), np.uint8)
    differs = cv2.dilate(label, kernel) != cv2.erode(label, kernel)
    return np.where(differs & (label != POLE), np.uint8(IGNORE), label)
