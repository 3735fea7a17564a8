# ruff: noqa: PLR2004 -- the numbers are what a town looks like
"""Paints what stands on the ground, and the shadows that it casts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deeplab_miou.demo import people, vehicles
from deeplab_miou.demo.blocks import Building, Plant, Post
from deeplab_miou.demo.canvas import BUILDING, IGNORE, PERSON, POLE, VEGETATION
from deeplab_miou.demo.situation import Car, Person, Situation

if TYPE_CHECKING:
    from deeplab_miou.demo.canvas import Bytes, Canvas, Points, Sprite
    from deeplab_miou.demo.people import Look
    from deeplab_miou.demo.style import Style

_SMALLEST_PERSON_PX = 13.0  # of 480 rows: what is smaller is labelled ignore
_THINNEST_POLE_PX = 1.9


@dataclass(frozen=True)
class Assets:
    """The pictures that a town is made of.

    Attributes:
        fronts: house fronts, each at several sizes; likewise sides.
        trees: sprites; likewise bushes.
        looks: what people wear.
    """

    fronts: tuple[tuple[Bytes, ...], ...]
    sides: tuple[tuple[Bytes, ...], ...]
    trees: tuple[Sprite, ...]
    bushes: tuple[Sprite, ...]
    looks: tuple[Look, ...]


class ThingPainter:
    """Paints houses, plants, posts, cars and people onto a canvas.

    Args:
        style: the drive's character.
        assets: the town's pictures.
    """

    def __init__(self, style: Style, assets: Assets) -> None:
        self.style = style
        self.assets = assets
        self.sun_strength = 1.0 - style.overcast
        self._figures: dict[tuple[int, int, bool], Sprite] = {}

    def cast_shadows(self, canvas: Canvas, situation: Situation, sun: Points) -> None:
        """Darken the ground where the sun, or much of the sky, does not reach.

        Args:
            canvas: the frame, its ground painted and nothing else yet.
            situation: what is in sight.
            sun: (3,) unit vector to the sun in the road frame.
        """
        strength = self.sun_strength
        dark = 1.0 - 0.55 * strength
        # A point at height h shades the ground h * reach away from the sun.
        reach = -sun[[0, 2]] / max(sun[1], 0.2)
        see = canvas.camera.see
        if strength > 0.1:
            for building in situation.buildings:
                base = situation.outline(building)
                tip = base + np.array([reach[0], 0.0, reach[1]]) * building.height
                canvas.cast(see(np.concatenate([base, tip])), dark)
            for plant in situation.plants:
                size = plant.scale * (1.3 if plant.bush else 6.0)
                foot = situation.at(plant.s, plant.u)
                middle = foot + np.array([reach[0], 0.0, reach[1]]) * size * 0.75
                angles = np.linspace(0, 2 * math.pi, 10)[:-1]
                ring = np.stack([np.cos(angles), np.zeros(9), np.sin(angles)], axis=1)
                stretch = 1 + 0.4 * abs(reach)
                crown = ring * (0.42 * size * stretch[0], 0, 0.42 * size * stretch[1]) + middle
                canvas.cast(see(crown), dark)
            for post in situation.posts:
                foot = situation.at(post.s, post.u)
                tip = foot + np.array([reach[0], 0.0, reach[1]]) * post.height
                width = np.array([post.radius, 0.0, 0.0])
                canvas.cast(see(np.array([foot - width, foot + width, tip + width, tip - width])),
                            dark)  # fmt: skip
            for s, u, _, heading in situation.cars:
                base = vehicles.shadow(situation.at(s, u), heading)
                tip = base + np.array([reach[0], 0.0, reach[1]]) * 1.2
                canvas.cast(see(np.concatenate([base, tip])), dark)
        for s, u, _, heading in situation.cars:
            canvas.cast(see(vehicles.shadow(situation.at(s, u), heading)), dark * 0.45)
        for building in situation.buildings:  # little sky is seen from the foot of a wall
            base = situation.outline(building)
            out = np.array([-math.copysign(0.35, building.u), 0.0, 0.0])
            canvas.cast(
                see(np.array([base[0], base[1], base[1] + out, base[0] + out])), dark * 0.75
            )
        for s, u, *_ in situation.people:
            foot = situation.at(s, u)
            tip = foot + np.array([reach[0], 0.0, reach[1]]) * 1.6 * self.sun_strength
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

    def paint(self, canvas: Canvas, situation: Situation, sun: Points) -> None:
        """Paint everything that stands on the ground, the farthest along the road first."""
        things: list[tuple[float, int, Building | Plant | Post | Car | Person]] = []
        things += [(house.s1, 0, house) for house in situation.buildings]
        things += [(plant.s, 1, plant) for plant in situation.plants]
        things += [(post.s, 2, post) for post in situation.posts]
        things += [(car.s, 3, car) for car in situation.cars]
        things += [(person.s, 4, person) for person in situation.people]
        things.sort(key=lambda thing: (-thing[0], thing[1]))
        for _, _, thing in things:
            if isinstance(thing, Building):
                self._paint_building(canvas, situation, thing, sun)
            elif isinstance(thing, Plant):
                self._paint_plant(canvas, situation, thing)
            elif isinstance(thing, Post):
                self._paint_post(canvas, situation, thing)
            elif isinstance(thing, Car):
                self._paint_car(canvas, situation, thing, sun)
            else:
                self._paint_person(canvas, situation, thing)

    def _paint_plant(self, canvas: Canvas, situation: Situation, plant: Plant) -> None:
        sprites = self.assets.bushes if plant.bush else self.assets.trees
        foot = canvas.camera.see(situation.at(plant.s, plant.u)[None])[0]
        light = 0.72 + 0.38 * self.sun_strength
        canvas.sprite(
            foot, sprites[plant.kind], light, VEGETATION,
            scale=plant.scale, mirrored=plant.mirrored,
        )  # fmt: skip

    def _paint_car(self, canvas: Canvas, situation: Situation, car: Car, sun: Points) -> None:
        centre = situation.at(car.s, car.u)
        seen = canvas.camera.see(centre[None])[0]
        if seen[2] > 1:
            beside = np.array([math.copysign(1.2, car.u), 0.0, 0.0])
            light = 0.35 + 0.65 * canvas.light_at(seen - beside)
            vehicles.paint(canvas, car.vehicle, (centre, car.heading), light, sun)

    def _paint_building(
        self, canvas: Canvas, situation: Situation, building: Building, sun: Points
    ) -> None:
        base = situation.outline(building)  # near front, far front, far back, near back
        near, far = canvas.camera.see(base[[0, 1]])
        if max(near[2], far[2]) < 1:
            return
        up = np.array([0.0, building.height, 0.0])
        seen = canvas.camera.see(np.concatenate([base, base + up]))
        assets = self.assets
        side = math.copysign(1.0, building.u)
        ambient = 0.66 + 0.1 * self.sun_strength
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

    def _paint_post(self, canvas: Canvas, situation: Situation, post: Post) -> None:
        foot = situation.at(post.s, post.u)
        distance = float(canvas.camera.see(foot[None])[0, 2])
        if distance < 1:
            return
        thin = (
            2 * post.radius * canvas.camera.focal / distance * 480 / canvas.height
            < _THINNEST_POLE_PX
        )
        class_id = IGNORE if thin else POLE
        light = 0.75 + 0.35 * self.sun_strength
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

    def _paint_person(self, canvas: Canvas, situation: Situation, person: Person) -> None:
        s, u, look, walked, side, mirrored = person
        foot = canvas.camera.see(situation.at(s, u)[None])[0]
        if foot[2] < 1.5:
            return
        style = self.assets.looks[look]
        size = 1.75 * style.stature * canvas.camera.focal / foot[2] * 480 / canvas.height
        phase = int(walked / people.STRIDE_M * people.PHASES) % people.PHASES
        key = (look, phase, side)
        if key not in self._figures:
            tilt = math.sin(self.style.sun_azimuth) * self.sun_strength
            self._figures[key] = people.figure(style, phase, side=side, light_from=tilt)
        light = 0.45 + 0.6 * canvas.light_at(foot)
        class_id = PERSON if size >= _SMALLEST_PERSON_PX else IGNORE
        canvas.sprite(foot, self._figures[key], light, class_id, mirrored=mirrored)
