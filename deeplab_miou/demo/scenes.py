"""Rendered road scenes: a drive through a town, one frame for any moment of it, with its labels.

The renderer is a painter: sky and skyline, the ground by ray and texture, then everything that
stands on it from far to near, then what a camera does to light (shutter, focus, exposure, noise).
Only NumPy and OpenCV are used. The same seed and time give the same bytes on the same machine and
library versions; other processors or versions may round a few pixels differently (`sin`, `exp` and
OpenCV's vector code are not bit-exact everywhere), which moves single pixels, never objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from deeplab_miou.demo import people, textures, vehicles
from deeplab_miou.demo.canvas import (
    BUILDING,
    IGNORE,
    PERSON,
    POLE,
    VEGETATION,
    Bytes,
    Camera,
    Canvas,
    Floats,
    Points,
    Sprite,
    mips,
)
from deeplab_miou.demo.people import Look
from deeplab_miou.demo.world import (
    ASSETS,
    BEHIND_M,
    BUSHES,
    FACADES,
    LOOKS,
    TREES,
    VISIBLE_M,
    Building,
    Post,
    World,
    chances,
)

SHUTTER_S = 0.012
_LEVELS_M = (9.0, 20.0, 42.0)  # from here on the ground's next level
_SMALLEST_PERSON_PX = 13.0  # of 480 rows: what is smaller is labelled ignore
_THINNEST_POLE_PX = 1.9


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
class _Assets:
    ground: textures.Ground
    fronts: tuple[tuple[Bytes, ...], ...]
    sides: tuple[tuple[Bytes, ...], ...]
    far: Bytes
    far_label: Bytes
    trees: tuple[Sprite, ...]
    bushes: tuple[Sprite, ...]
    looks: tuple[Look, ...]
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
        self._figures: dict[tuple[int, int, bool], Sprite] = {}
        elevation = self._style.sun_elevation
        self._sun_strength = 1.0 - self._style.overcast
        self._sun_height = math.sin(elevation)
        self._sun_flat = math.cos(elevation)
        self._assets = self._make_assets()

    def render(self, time_s: float) -> Scene:
        """Render the frame at a moment of the drive, any time in any order.

        Args:
            time_s: seconds since the drive began, >= 0.
        """
        frame = _Frame(self._world, time_s)
        rng = chances(self.seed, 3, round(time_s * 1000))
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
        bearing = self._style.sun_azimuth - frame.heading
        sun = np.array(
            [
                math.sin(bearing) * self._sun_flat,
                self._sun_height,
                math.cos(bearing) * self._sun_flat,
            ]
        )
        self._paint_backdrop(canvas, frame)
        self._paint_ground(canvas, frame)
        self._cast_shadows(canvas, frame, sun)
        self._paint_things(canvas, frame, sun * self._sun_strength)
        image = self._expose(canvas.image, frame, rng)
        return Scene(image, outlined(canvas.label))

    def _make_assets(self) -> _Assets:
        rng = chances(self.seed, ASSETS)
        style = self._style
        sideways = math.sin(style.sun_azimuth) * self._sun_strength
        horizon = round(self.height * 0.62)
        strip = round(2.4 * self._focal) + self.width
        column = style.sun_azimuth * self._focal + strip / 2
        row = horizon - math.tan(min(style.sun_elevation, 1.2)) * self._focal
        far, far_label = textures.backdrop(
            rng, strip, horizon, horizon + round(0.12 * self.height), self._focal / 190,
            (style.zenith, style.low), style.clouds,
            (column, row) if style.overcast < 0.5 else None,
        )  # fmt: skip
        noise = np.clip(rng.normal(128, 26, (self.height + 64, self.width + 64, 3)), 0, 255)
        y = (np.arange(self.height) - self.height / 2)[:, None] / self.width
        x = (np.arange(self.width) - self.width / 2)[None] / self.width
        fall = 255 * (1 - 0.42 * (x * x + y * y))
        return _Assets(
            ground=textures.ground(rng, style.profile, SHUTTER_S * style.speed),
            fronts=tuple(mips(textures.facade(rng)) for _ in range(FACADES)),
            sides=tuple(mips(textures.facade(rng, blind=True)) for _ in range(2)),
            far=far,
            far_label=far_label,
            trees=tuple(textures.tree(rng, sideways) for _ in range(TREES)),
            bushes=tuple(textures.tree(rng, sideways, bush=True) for _ in range(BUSHES)),
            looks=tuple(Look.draw(rng) for _ in range(LOOKS)),
            noise=noise.astype(np.uint8),
            vignette=np.repeat(fall[..., None], 3, axis=2).astype(np.uint8),
        )

    def _paint_backdrop(self, canvas: Canvas, frame: _Frame) -> None:
        assets = self._assets
        turn = float(frame.heading) + canvas.camera.yaw
        rows, columns = assets.far_label.shape
        left = round(columns / 2 + turn * self._focal - self.width / 2)
        left = min(max(left, 0), columns - self.width)
        below = rows - round(0.12 * self.height) - round(canvas.camera.horizon)
        bottom = min(self.height, rows - below)
        view = slice(left, left + self.width)
        canvas.image[:bottom] = assets.far[below : below + bottom, view]
        canvas.label[:bottom] = assets.far_label[below : below + bottom, view]

    def _paint_ground(self, canvas: Canvas, frame: _Frame) -> None:
        camera, ground = canvas.camera, self._assets.ground
        top = math.floor(camera.horizon) + 2
        rows = np.arange(top, self.height) + 0.5
        depth = camera.focal * camera.y / (rows - camera.horizon)
        path = camera.see(np.stack([frame.x, np.zeros_like(frame.x), frame.z], axis=1))
        middle = np.interp(depth, path[:, 2], path[:, 0])
        course = np.interp(depth, path[:, 2], frame.bearing) - camera.yaw
        ahead = np.interp(depth, path[:, 2], frame.ahead)
        columns = (np.arange(self.width) + 0.5 - camera.center_x) / camera.focal
        offset = np.multiply.outer(depth, columns) - middle[:, None]
        u = (offset * np.cos(course)[:, None]).astype(np.float32)
        s = (frame.s + ahead)[:, None] + offset * np.sin(course)[:, None]
        plain = ground.plain_rows * textures.TEXEL_M
        along = np.mod(s, plain)
        for begin in self._world.crossings(frame.s):
            inside = (s >= begin) & (s < begin + textures.CROSSING_M)
            if inside.any():
                along = np.where(inside, s - begin + plain, along)
        limit = textures.GROUND_HALF_M - textures.TEXEL_M
        map_x = (np.clip(u, -limit, limit) + textures.GROUND_HALF_M) / textures.TEXEL_M - 0.5
        map_y = (along / textures.TEXEL_M - 0.5).astype(np.float32)
        map_x = map_x.astype(np.float32)
        edges = [len(rows), *(int(np.searchsorted(-depth, -limit_m)) for limit_m in _LEVELS_M), 0]
        for level, (stop, start) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
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
        haze = np.float32(self._style.low)
        view[:] = (view * (1 - fade[:far]) + haze * fade[:far]).astype(np.uint8)

    def _cast_shadows(self, canvas: Canvas, frame: _Frame, sun: Points) -> None:
        strength = self._sun_strength
        dark = 1.0 - 0.55 * strength
        # A point at height h shades the ground h * reach away from the sun.
        reach = -sun[[0, 2]] / max(sun[1], 0.2)
        see = canvas.camera.see
        if strength > 0.1:
            for building in frame.buildings:
                base = frame.outline(building)
                tip = base + np.array([reach[0], 0.0, reach[1]]) * building.height
                canvas.cast(see(np.concatenate([base, tip])), dark)
            for plant in frame.plants:
                size = plant.scale * (1.3 if plant.bush else 6.0)
                foot = frame.at(plant.s, plant.u)
                middle = foot + np.array([reach[0], 0.0, reach[1]]) * size * 0.75
                angles = np.linspace(0, 2 * math.pi, 10)[:-1]
                ring = np.stack([np.cos(angles), np.zeros(9), np.sin(angles)], axis=1)
                stretch = 1 + 0.4 * abs(reach)
                crown = ring * (0.42 * size * stretch[0], 0, 0.42 * size * stretch[1]) + middle
                canvas.cast(see(crown), dark)
            for post in frame.posts:
                foot = frame.at(post.s, post.u)
                tip = foot + np.array([reach[0], 0.0, reach[1]]) * post.height
                width = np.array([post.radius, 0.0, 0.0])
                canvas.cast(see(np.array([foot - width, foot + width, tip + width, tip - width])),
                            dark)  # fmt: skip
            for s, u, _, heading in frame.cars:
                base = vehicles.shadow(frame.at(s, u), heading)
                tip = base + np.array([reach[0], 0.0, reach[1]]) * 1.2
                canvas.cast(see(np.concatenate([base, tip])), dark)
        for s, u, _, heading in frame.cars:
            canvas.cast(see(vehicles.shadow(frame.at(s, u), heading)), dark * 0.45)
        for building in frame.buildings:  # little sky is seen from the foot of a wall
            base = frame.outline(building)
            out = np.array([-math.copysign(0.35, building.u), 0.0, 0.0])
            canvas.cast(
                see(np.array([base[0], base[1], base[1] + out, base[0] + out])), dark * 0.75
            )
        for s, u, *_ in frame.people:
            foot = frame.at(s, u)
            tip = foot + np.array([reach[0], 0.0, reach[1]]) * 1.6 * self._sun_strength
            width = np.array([0.2, 0.0, 0.0])
            depth = np.array([0.0, 0.0, 0.15])
            canvas.cast(
                see(np.array([foot - width - depth, foot + width, tip + width * 0.6,
                              tip - width * 0.6 + depth])), dark * 0.9,
            )  # fmt: skip
        top = math.floor(canvas.camera.horizon) + 2
        canvas.shade[top:] = cv2.blur(canvas.shade[top:], (3, 3))
        light = cv2.cvtColor(canvas.shade[top:], cv2.COLOR_GRAY2RGB)
        canvas.image[top:] = cv2.multiply(canvas.image[top:], light, scale=1 / 255)

    def _paint_things(self, canvas: Canvas, frame: _Frame, sun: Points) -> None:  # noqa: C901
        """Paint everything that stands on the ground, the farthest along the road first."""
        see, assets = canvas.camera.see, self._assets
        things: list[tuple[float, int, object]] = []
        things += [(b.s1, 0, b) for b in frame.buildings]
        things += [(p.s, 1, p) for p in frame.plants]
        things += [(p.s, 2, p) for p in frame.posts]
        things += [(c[0], 3, c) for c in frame.cars]
        things += [(p[0], 4, p) for p in frame.people]
        things.sort(key=lambda thing: (-thing[0], thing[1]))
        for _, kind, thing in things:
            if kind == 0:
                self._paint_building(canvas, frame, thing, sun)  # type: ignore[arg-type]
            elif kind == 1:
                plant = thing
                sprites = assets.bushes if plant.bush else assets.trees  # type: ignore[attr-defined]
                foot = see(frame.at(plant.s, plant.u)[None])[0]  # type: ignore[attr-defined]
                light = 0.72 + 0.38 * self._sun_strength
                canvas.sprite(foot, sprites[plant.kind], light, VEGETATION,  # type: ignore[attr-defined]
                              scale=plant.scale, mirrored=plant.mirrored)  # type: ignore[attr-defined]  # fmt: skip
            elif kind == 2:  # noqa: PLR2004
                self._paint_post(canvas, frame, thing)  # type: ignore[arg-type]
            elif kind == 3:  # noqa: PLR2004
                s, u, vehicle, heading = thing  # type: ignore[misc]
                centre = frame.at(s, u)
                seen = see(centre[None])[0]
                if seen[2] > 1:
                    light = 0.35 + 0.65 * canvas.light_at(seen - [math.copysign(1.2, u), 0, 0])
                    vehicles.paint(canvas, vehicle, centre, heading, light, sun)
            else:
                self._paint_person(canvas, frame, thing)  # type: ignore[arg-type]

    def _paint_building(
        self, canvas: Canvas, frame: _Frame, building: Building, sun: Points
    ) -> None:
        base = frame.outline(building)  # near front, far front, far back, near back
        near, far = canvas.camera.see(base[[0, 1]])
        if max(near[2], far[2]) < 1:
            return
        up = np.array([0.0, building.height, 0.0])
        seen = canvas.camera.see(np.concatenate([base, base + up]))
        assets = self._assets
        side = math.copysign(1.0, building.u)
        ambient = 0.66 + 0.1 * self._sun_strength
        across, along = base[3] - base[0], base[1] - base[0]
        facing = float(-(across @ sun)) / float(np.linalg.norm(across))
        end = float(-(along @ sun)) / float(np.linalg.norm(along))
        if building.pitched:
            self._paint_roof(canvas, building, seen, sun)
        # The end wall that looks at the camera, then the front; both face a convex corner.
        if near[2] > 1:
            gable = seen[[7, 4, 0, 3]] if side < 0 else seen[[4, 7, 3, 0]]
            texture = assets.sides[building.facade % len(assets.sides)]
            canvas.wall(gable, texture, ambient + 0.5 * max(0.0, end), BUILDING)
        front = seen[[4, 5, 1, 0]] if side < 0 else seen[[5, 4, 0, 1]]
        canvas.wall(
            front, assets.fronts[building.facade], ambient + 0.5 * max(0.0, facing), BUILDING
        )

    def _paint_roof(self, canvas: Canvas, building: Building, seen: Points, sun: Points) -> None:
        """Paint a roof that slopes back from the front, with its near gable."""
        rise = np.array([0.0, min(3.2, building.depth * 0.3), 0.0])
        ridge_near = (seen[4] + seen[7]) / 2 + rise
        ridge_far = (seen[5] + seen[6]) / 2 + rise
        light = 0.75 + 0.35 * float(max(0.0, sun[1]))
        distance = float(max(1.0, seen[4, 2]))
        gable = np.array([seen[4], seen[7], ridge_near])
        canvas.polygon(gable, canvas.tone((150, 138, 122), 0.8 * light, distance), BUILDING)
        slope = np.array([seen[4], seen[5], ridge_far, ridge_near])
        canvas.polygon(slope, canvas.tone(building.roof, light, distance), BUILDING)

    def _paint_post(self, canvas: Canvas, frame: _Frame, post: Post) -> None:
        foot = frame.at(post.s, post.u)
        distance = float(canvas.camera.see(foot[None])[0, 2])
        if distance < 1:
            return
        thin = 2 * post.radius * self._focal / distance * 480 / self.height < _THINNEST_POLE_PX
        class_id = IGNORE if thin else POLE
        light = 0.75 + 0.35 * self._sun_strength
        # Two strips: a lit and a dark half make the post round.
        for left, right, gain in ((-1.0, 0.1, 1.15), (0.1, 1.0, 0.7)):
            r0, r1 = left * post.radius, right * post.radius
            strip = np.array(
                [[r0 * 1.25, 0, 0], [r1 * 1.25, 0, 0], [r1 * 0.8, post.height, 0],
                 [r0 * 0.8, post.height, 0]]
            )  # fmt: skip
            color = canvas.tone((post.grey,) * 3, light * gain, distance)
            canvas.polygon(canvas.camera.see(foot + strip), color, class_id)
        if post.arm:
            inward = -math.copysign(post.arm, post.u)
            bar = np.array(
                [[0, post.height - 0.3, 0], [0, post.height - 0.14, 0],
                 [inward, post.height + 0.2, 0], [inward, post.height + 0.08, 0]]
            )  # fmt: skip
            lamp = np.array(
                [[inward * 0.7, post.height + 0.02, 0], [inward * 1.25, post.height + 0.18, 0],
                 [inward * 1.25, post.height + 0.28, 0], [inward * 0.7, post.height + 0.2, 0]]
            )  # fmt: skip
            color = canvas.tone((post.grey,) * 3, light * 0.9, distance)
            canvas.polygon(canvas.camera.see(foot + bar), color, class_id)
            canvas.polygon(canvas.camera.see(foot + lamp), color, class_id)
        if post.sign:
            angles = np.linspace(0, 2 * math.pi, 13)[:-1]
            disc = np.stack([np.cos(angles), np.sin(angles), np.zeros(12)], axis=1)
            for radius, color in ((0.34, post.sign), (0.23, (232.0, 232.0, 228.0))):
                plate = foot + disc * radius + [0, post.height - 0.3, -0.06]
                canvas.polygon(
                    canvas.camera.see(plate), canvas.tone(color, light, distance), IGNORE
                )

    def _paint_person(
        self, canvas: Canvas, frame: _Frame, person: tuple[float, float, int, float, bool, bool]
    ) -> None:
        s, u, look, stride, side, mirrored = person
        foot = canvas.camera.see(frame.at(s, u)[None])[0]
        if foot[2] < 1.5:  # noqa: PLR2004
            return
        style = self._assets.looks[look]
        size = 1.75 * style.stature * self._focal / foot[2] * 480 / self.height
        phase = int(stride / people.STRIDE_M * people.PHASES) % people.PHASES
        key = (look, phase, side)
        if key not in self._figures:
            tilt = math.sin(self._style.sun_azimuth) * self._sun_strength
            self._figures[key] = people.figure(style, phase, side=side, light_from=tilt)
        light = 0.45 + 0.6 * canvas.light_at(foot)
        class_id = PERSON if size >= _SMALLEST_PERSON_PX else IGNORE
        canvas.sprite(foot, self._figures[key], light, class_id, mirrored=mirrored)

    def _expose(self, image: Bytes, frame: _Frame, rng: np.random.Generator) -> Bytes:
        """Do to the picture what a camera does."""
        t, style = frame.time_s, self._style
        # Shutter: turning smears sideways. Focus: drifts a little, sharp most of the time.
        smear = abs(frame.turn_rate) * self._focal * SHUTTER_S
        if smear > 1.2:  # noqa: PLR2004
            image = np.asarray(cv2.blur(image, (2 * round(smear / 2) + 1, 1)), np.uint8)
        defocus = 0.45 + 0.9 * max(0.0, math.sin(0.31 * t + self.seed) - 0.6)
        image = np.asarray(cv2.GaussianBlur(image, (5, 5), defocus * self.height / 480), np.uint8)
        image = np.asarray(cv2.multiply(image, self._assets.vignette, scale=1 / 255), np.uint8)
        gain = 1.08 + 0.09 * math.sin(0.23 * t + 2.0 * self.seed) + 0.04 * math.sin(1.1 * t)
        ramp = np.arange(256, dtype=np.float64) / 255
        curve = np.empty((256, 1, 3))
        for channel, warmth in enumerate((style.warmth, 0.0, -style.warmth)):
            linear = np.clip(ramp * gain * (1 + warmth), 0, 1.3)
            curve[:, 0, channel] = 255 * (1 - (1 - np.clip(linear / 1.12, 0, 1)) ** 1.25)
        table = np.clip(curve + 0.5, 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), np.uint8)
        y, x = int(rng.integers(64)), int(rng.integers(64))
        noise = self._assets.noise[y : y + self.height, x : x + self.width]
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


class _Frame:
    """One moment: where the car is, how the road runs before it, and what is in sight."""

    def __init__(self, world: World, time_s: float) -> None:
        self.time_s = time_s
        self.s = world.travelled(time_s)
        self.ahead = np.arange(-BEHIND_M, VISIBLE_M + 51.0)
        headings = world.heading(self.s + self.ahead)
        self.heading = float(world.heading(self.s))
        self.bearing = headings - self.heading
        middle = (self.bearing[1:] + self.bearing[:-1]) / 2
        zero = int(BEHIND_M)
        x = np.concatenate([[0.0], np.cumsum(np.sin(middle))])
        z = np.concatenate([[0.0], np.cumsum(np.cos(middle))])
        self.x, self.z = x - x[zero], z - z[zero]
        step = 0.05
        later = float(world.heading(world.travelled(time_s + step)))
        self.turn_rate = (later - self.heading) / step
        self._collect(world)

    def _collect(self, world: World) -> None:
        low, high = self.s - BEHIND_M + 1, self.s + VISIBLE_M
        blocks = world.blocks(self.s)
        self.buildings = [
            b for block in blocks for b in block.buildings if b.s1 > self.s + 1 and b.s0 < high
        ]
        self.plants = [
            p for block in blocks for p in block.plants
            if self.s + 1 < p.s < self.s + (70 if p.bush else 120)
        ]  # fmt: skip
        self.posts = [p for block in blocks for p in block.posts if self.s + 2 < p.s < self.s + 80]
        self.cars: list[tuple[float, float, vehicles.Vehicle, float]] = []
        for block in blocks:
            for car in block.parked:
                if self.s + 1 < car.s < self.s + 110:
                    turn = math.pi if car.reverse else 0.0
                    self.cars.append((car.s, car.u, car.vehicle, self.course(car.s) + turn))
        for s, u, vehicle, oncoming in world.traffic(self.time_s):
            if low < s < high:
                turn = math.pi if oncoming else 0.0
                self.cars.append((s, u, vehicle, self.course(s) + turn))
        # (s, u, look, way walked, seen from the side, mirrored)
        self.people: list[tuple[float, float, int, float, bool, bool]] = []
        for block in blocks:
            for walker in block.walkers:
                s, direction = walker.place(self.time_s)
                if self.s + 2 < s < self.s + 75:
                    way = walker.speed * self.time_s + walker.start
                    self.people.append((s, walker.u, walker.look, way, False, direction < 0))
            for crosser in block.crossers:
                ahead = crosser.s - self.s
                share = min(max((80 + crosser.lead - ahead) / 70, 0.0), 1.0)
                if 4 < ahead < 75:
                    edge = world.style.profile.road + 0.8
                    u = crosser.side * edge * (1 - 2 * share)
                    moving = 0 < share < 1
                    self.people.append(
                        (crosser.s, u, crosser.look, 2 * edge * share, moving, crosser.side > 0)
                    )

    def course(self, s: float) -> float:
        """Return the road's direction at s relative to its direction here, radians."""
        return float(np.interp(s - self.s, self.ahead, self.bearing))

    def at(self, s: float, u: float) -> Points:
        """Return the (3,) ground point at s along and u beside the road, in the road frame."""
        d = s - self.s
        course = float(np.interp(d, self.ahead, self.bearing))
        x = float(np.interp(d, self.ahead, self.x)) + u * math.cos(course)
        z = float(np.interp(d, self.ahead, self.z)) - u * math.sin(course)
        return np.array([x, 0.0, z])

    def outline(self, building: Building) -> Points:
        """Return a house's (4, 3) corners: near front, far front, far back, near back."""
        s0 = max(building.s0, self.s - BEHIND_M)
        back = building.u + math.copysign(building.depth, building.u)
        near, far = self.at(s0, building.u), self.at(building.s1, building.u)
        middle = (s0 + building.s1) / 2
        out = self.at(middle, back) - self.at(middle, building.u)
        return np.array([near, far, far + out, near + out])
