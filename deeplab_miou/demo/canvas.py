"""A pin-hole camera and the picture it paints: polygons, textured walls and sprites, far to near.

Everything is drawn twice, with anti-aliasing into the colour image and without into the label
image, so that a label says exactly which surface the camera sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Points: TypeAlias = NDArray[np.float64]
Color: TypeAlias = "tuple[float, float, float]"

ROAD, SIDEWALK, BUILDING, POLE, VEGETATION, SKY, PERSON, CAR = 0, 1, 2, 5, 8, 10, 11, 13
IGNORE = 255
NEAR_M = 0.5  # nothing nearer than this is drawn
_SHIFT = 4  # fractional bits of polygon corners: motion below a pixel shows
_MIPS = 4


@dataclass(frozen=True)
class Camera:
    """Where the camera is in the local road frame (x right, y up, z ahead; metres) and its lens.

    Attributes:
        focal: focal length, pixels.
        center_x: column of the optical axis, pixels.
        horizon: row of the horizon, pixels.
        x: position to the right of the road's centre line, metres.
        y: height over the ground, metres.
        yaw: heading relative to the road, radians, positive to the right.
    """

    focal: float
    center_x: float
    horizon: float
    x: float
    y: float
    yaw: float

    def see(self, points: Points) -> Points:
        """Turn (N, 3) points of the road frame into camera coordinates (x right, y up, z ahead)."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        moved = points - (self.x, self.y, 0.0)
        seen = moved @ np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
        return np.asarray(seen, np.float64)

    def project(self, points: Points) -> Points:
        """Project (N, 3) camera coordinates with z > 0 to (N, 2) pixel coordinates."""
        flat = points[:, :2] * (self.focal / points[:, 2:])
        flat[:, 0] += self.center_x
        flat[:, 1] = self.horizon - flat[:, 1]
        return flat


@dataclass(frozen=True)
class Sprite:
    """A flat picture of a thing with soft edges, at several sizes.

    Attributes:
        colors: (h, w, 3) RGB, each level half the size of the one before.
        alphas: (h, w) float32 opacity 0..1, same sizes.
        height_m: height of the picture, metres; its foot stands on the ground.
    """

    colors: tuple[Bytes, ...]
    alphas: tuple[Floats, ...]
    height_m: float

    @staticmethod
    def build(color: Bytes, alpha: Floats, height_m: float) -> Sprite:
        """Build the smaller levels of a sprite."""
        colors, alphas = [color], [alpha]
        for _ in range(_MIPS - 1):
            size = (max(1, colors[-1].shape[1] // 2), max(1, colors[-1].shape[0] // 2))
            colors.append(np.asarray(cv2.resize(colors[-1], size, interpolation=cv2.INTER_AREA)))
            alphas.append(
                np.asarray(cv2.resize(alphas[-1], size, interpolation=cv2.INTER_AREA), np.float32)
            )
        return Sprite(tuple(colors), tuple(alphas), height_m)


def mips(texture: Bytes) -> tuple[Bytes, ...]:
    """Return a texture at full, half, quarter and eighth size."""
    levels = [texture]
    for _ in range(_MIPS - 1):
        size = (max(1, levels[-1].shape[1] // 2), max(1, levels[-1].shape[0] // 2))
        levels.append(np.asarray(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA)))
    return tuple(levels)


def clip_near(points: Points, near: float = NEAR_M) -> Points:
    """Cut the part of a convex (N, 3) polygon that is nearer than `near` (Sutherland-Hodgman)."""
    inside = points[:, 2] >= near
    if inside.all():
        return points
    kept: list[Points] = []
    for i in range(len(points)):
        a, b = points[i - 1], points[i]
        if inside[i] != inside[i - 1]:
            kept.append(a + (b - a) * ((near - a[2]) / (b[2] - a[2])))
        if inside[i]:
            kept.append(b)
    return np.array(kept).reshape(-1, 3)


class Canvas:
    """The colour image and the label image of one frame while they are painted.

    Args:
        camera: the camera of this frame.
        height: rows, pixels.
        width: columns, pixels.
        haze: RGB colour (0..255) into which distance fades.
        visibility_m: distance at which about two thirds of the contrast is gone, metres.
    """

    def __init__(
        self, camera: Camera, height: int, width: int, haze: Color, visibility_m: float
    ) -> None:
        self.camera = camera
        self.height, self.width = height, width
        self.visibility_m = visibility_m
        self.image: Bytes = np.empty((height, width, 3), np.uint8)
        self.label: Bytes = np.full((height, width), SKY, np.uint8)
        self.haze: Bytes = np.empty_like(self.image)
        self.haze[:] = np.array(haze, np.uint8)
        self.shade: Bytes = np.full((height, width), 255, np.uint8)  # light that reaches the ground
        self._haze_color = np.array(haze)

    def fading(self, distance_m: float) -> float:
        """Return the share of haze in a colour seen at a distance, 0..1."""
        return 1.0 - math.exp(-max(distance_m, 0.0) / self.visibility_m)

    def tone(self, color: Sequence[float] | Points, light: float, distance_m: float) -> Color:
        """Return a colour as lit and as seen through the haze at a distance."""
        fade = self.fading(distance_m)
        r, g, b = np.clip(np.asarray(color) * light, 0, 255) * (1 - fade) + self._haze_color * fade
        return float(r), float(g), float(b)

    def tones(self, colors: Points, distance_m: float) -> list[Color]:
        """Return (n, 3) lit colours as seen through the haze at a distance."""
        fade = self.fading(distance_m)
        seen = np.clip(colors, 0, 255) * (1 - fade) + self._haze_color * fade
        return [(r, g, b) for r, g, b in seen.tolist()]

    def pixels(self, points: Points) -> NDArray[np.int32]:
        """Project camera coordinates to fixed-point pixels as OpenCV's `shift` wants them."""
        flat = self.camera.project(points)
        return np.rint(np.clip(flat, -30000, 30000) * (1 << _SHIFT)).astype(np.int32)

    def polygon(self, points: Points, color: Color, class_id: int | None) -> None:
        """Fill a convex polygon given in camera coordinates; class None leaves the label alone."""
        points = clip_near(points)
        if len(points) < 3:  # noqa: PLR2004 -- nothing of it is before the camera
            return
        corners = self.pixels(points)
        cv2.fillConvexPoly(self.image, corners, color, cv2.LINE_AA, _SHIFT)
        if class_id is not None:
            cv2.fillConvexPoly(self.label, corners, (class_id,), cv2.LINE_8, _SHIFT)

    def fill(self, pixels: NDArray[np.int32], color: Color) -> None:
        """Fill a convex polygon given as `pixels` returns it; the label is left alone."""
        cv2.fillConvexPoly(self.image, pixels, color, cv2.LINE_AA, _SHIFT)

    def hull(self, points: Points, color: Color) -> None:
        """Fill the convex hull of (N, 3) camera coordinates; the label is left alone."""
        self.fill(np.asarray(cv2.convexHull(self.pixels(points)), np.int32), color)

    def mark(self, points: Points, class_id: int) -> None:
        """Label the convex hull of (N, 3) camera coordinates, all before the camera."""
        hull = cv2.convexHull(self.pixels(points))
        cv2.fillConvexPoly(self.label, hull, (class_id,), cv2.LINE_8, _SHIFT)

    def cast(self, points: Points, light: float) -> None:
        """Darken the ground inside the convex hull of (N, 3) ground points, camera coordinates."""
        order = cv2.convexHull(points[:, [0, 2]].astype(np.float32), returnPoints=False)
        ground = clip_near(points[order.ravel()], 1.0)
        if len(ground) < 3:  # noqa: PLR2004 -- as in polygon
            return
        cv2.fillConvexPoly(self.shade, self.pixels(ground), (255 * light,), cv2.LINE_AA, _SHIFT)

    def light_at(self, point: Points) -> float:
        """Return the light that reaches the ground at a (3,) point in camera coordinates."""
        column, row = self.camera.project(point[None])[0]
        column = min(max(column, 0), self.width - 1)
        row = min(max(row, 0), self.height - 1)
        return float(self.shade[int(row), int(column)]) / 255

    def wall(
        self, corners: Points, texture: tuple[Bytes, ...], light: float, class_id: int
    ) -> None:
        """Paint a textured vertical wall.

        Args:
            corners: (4, 3) camera coordinates: top left, top right, bottom right, bottom left
                as the texture has them.
            texture: the texture's levels from `mips`.
            light: factor on the texture's colours.
            class_id: what the wall's label is.
        """
        left, right = 0.0, 1.0
        near_left, near_right = corners[0, 2], corners[1, 2]
        if max(near_left, near_right) < 2 * NEAR_M:
            return
        if near_left < NEAR_M:
            left = float((NEAR_M - near_left) / (near_right - near_left))
        elif near_right < NEAR_M:
            right = float((NEAR_M - near_left) / (near_right - near_left))
        along = corners[1] - corners[0]
        down = corners[3] - corners[0]
        cut = np.array([corners[0] + along * left, corners[0] + along * right])
        cut = np.concatenate([cut, cut[::-1] + down])
        flat = self.camera.project(cut)
        roi = self._window(flat)
        if roi is None:
            return
        x0, y0, x1, y1 = roi
        extent = max(np.ptp(flat[:, 0]), 1.0) / (right - left)
        level = int(np.clip(math.log2(texture[0].shape[1] / extent), 0, _MIPS - 1))
        source = texture[level]
        h, w = source.shape[:2]
        box = np.array([[left * w, 0], [right * w, 0], [right * w, h], [left * w, h]], np.float32)
        target = (flat - (x0, y0)).astype(np.float32)
        painted = cv2.warpPerspective(
            source,
            cv2.getPerspectiveTransform(box, target),
            (x1 - x0, y1 - y0),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        fade = self.fading(float(cut[:, 2].mean()))
        haze = self.haze[y0:y1, x0:x1]
        painted = cv2.addWeighted(painted, light * (1 - fade), haze, fade, 0)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corners_fixed = np.rint(target * (1 << _SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(mask, corners_fixed, (255,), cv2.LINE_8, _SHIFT)
        cv2.copyTo(painted, mask, self.image[y0:y1, x0:x1])
        self._stamp(mask, class_id, roi)

    def sprite(
        self,
        foot: Points,
        sprite: Sprite,
        light: float,
        class_id: int,
        *,
        scale: float = 1.0,
        mirrored: bool = False,
    ) -> None:
        """Stand a sprite upright at a (3,) point in camera coordinates."""
        distance = float(foot[2])
        if distance < 2 * NEAR_M:
            return
        column, row = self.camera.project(foot[None])[0]
        rows, columns = sprite.colors[0].shape[:2]
        size = sprite.height_m * scale * self.camera.focal / distance
        half = size * columns / rows / 2
        flat = np.array([[column - half, row - size], [column + half, row]])
        roi = self._window(flat)
        if roi is None or size < 1:
            return
        x0, y0, x1, y1 = roi
        level = int(np.clip(math.log2(rows / size), 0, _MIPS - 1))
        color, alpha = sprite.colors[level], sprite.alphas[level]
        step = alpha.shape[0] / size
        # From this window's pixel centres to the sprite's: source = step * target + offset.
        sign = -1.0 if mirrored else 1.0
        edge = column + half if mirrored else column - half
        matrix = np.array(
            [
                [sign * step, 0, sign * step * (x0 + 0.5 - edge) - 0.5],
                [0, step, step * (y0 + 0.5 - (row - size)) - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        window = (x1 - x0, y1 - y0)
        opacity = cv2.warpAffine(alpha, matrix, window, flags=flags)
        painted = cv2.warpAffine(
            color, matrix, window, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        fade = self.fading(distance)
        haze = self.haze[y0:y1, x0:x1]
        painted = cv2.addWeighted(painted, light * (1 - fade), haze, fade, 0)
        under = self.image[y0:y1, x0:x1]
        under[:] = cv2.blendLinear(painted, under, opacity, np.float32(1) - opacity)
        _, mask = cv2.threshold(opacity, 0.5, 255, cv2.THRESH_BINARY)
        self._stamp(mask.astype(np.uint8), class_id, roi)

    def _window(self, flat: Points) -> tuple[int, int, int, int] | None:
        """Return the part of the image (x0, y0, x1, y1) that points cover, None if none."""
        low, high = flat.min(axis=0), flat.max(axis=0)
        x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
        x1, y1 = min(self.width, math.ceil(high[0]) + 1), min(self.height, math.ceil(high[1]) + 1)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _stamp(self, mask: Bytes, class_id: int, roi: tuple[int, int, int, int]) -> None:
        x0, y0, x1, y1 = roi
        target = self.label[y0:y1, x0:x1]
        np.copyto(target, np.uint8(class_id), where=mask > 0)
