"""Cars as small polygon meshes: body, cabin, glass, wheels and lamps, shaded face by face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from deeplab_miou.demo.canvas import CAR, NEAR_M, Canvas, Points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Corner: TypeAlias = "tuple[float, float, float]"

LENGTH_M = 4.4
_HALF_WIDTH = 0.9
_FINE_M = 35.0  # from here on details are left out
_GLASS = (34.0, 42.0, 52.0)
_PAINTS = (
    (168, 28, 30), (226, 226, 224), (32, 34, 38), (150, 154, 160), (36, 66, 122), (84, 88, 94),
    (28, 82, 66), (196, 168, 120), (208, 120, 30), (104, 24, 40), (120, 150, 176),
)  # fmt: skip
# (z, y) of the body from the rear bumper over boot and bonnet to the front, then the cabin's
# foot and roof: z of rear foot, rear roof, front roof, front foot; y of foot and roof.
_SHAPES = {
    "saloon": (
        ((-2.15, 0.3), (-2.2, 0.62), (-2.14, 0.92), (-1.5, 0.98), (0.95, 0.95), (1.85, 0.8),
         (2.15, 0.62), (2.18, 0.3)),
        (-1.72, -1.0, 0.15, 1.05, 0.96, 1.43),
    ),
    "hatchback": (
        ((-1.9, 0.3), (-2.0, 0.6), (-1.95, 0.98), (-1.6, 1.02), (1.05, 0.98), (1.75, 0.84),
         (2.0, 0.62), (2.02, 0.3)),
        (-1.9, -1.5, 0.2, 1.2, 0.98, 1.52),
    ),
    "estate": (
        ((-2.2, 0.36), (-2.25, 0.7), (-2.2, 1.08), (-1.8, 1.1), (1.0, 1.08), (1.9, 0.98),
         (2.2, 0.75), (2.22, 0.36)),
        (-2.18, -1.85, 0.2, 1.1, 1.07, 1.72),
    ),
    "van": (
        ((-2.4, 0.34), (-2.45, 0.7), (-2.42, 1.1), (-2.0, 1.14), (1.3, 1.12), (2.0, 1.0),
         (2.35, 0.75), (2.36, 0.34)),
        (-2.42, -2.36, 0.9, 1.65, 1.1, 2.15),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Vehicle:
    """A car's looks: shape name and RGB paint."""

    shape: str
    paint: tuple[int, int, int]

    @staticmethod
    def draw(rng: np.random.Generator) -> Vehicle:
        """Pick a car by chance."""
        names = ("saloon", "hatchback", "estate", "van")
        shape = names[int(rng.choice(4, p=(0.35, 0.3, 0.22, 0.13)))]
        return Vehicle(shape, _PAINTS[int(rng.integers(len(_PAINTS)))])


def shadow(centre: Points, heading: float) -> Points:
    """Return the (4, 3) ground rectangle under a car at a (3,) point of the road frame."""
    half = LENGTH_M / 2
    corners = np.array(
        [[-0.95, 0, -half], [0.95, 0, -half], [0.95, 0, half], [-0.95, 0, half]], np.float64
    )
    return _turn(corners, heading) + centre


def _turn(points: Points, heading: float) -> Points:
    cos, sin = math.cos(heading), math.sin(heading)
    turned = points @ np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
    return np.asarray(turned, np.float64)


@dataclass(frozen=True)
class _Mesh:
    """The faces of one shape in the car's frame (x right, y up, z ahead), ready to be turned.

    Attributes:
        corners: (n, 3) corners of all faces, one face after the other.
        slices: (start, stop) of each face in `corners`.
        normals: (f, 3) outward unit normals.
        centres: (f, 3) means of the corners.
        paint: (f,) factor on the body's paint; 0 for faces of another colour.
        color: (f, 3) what is added to the paint.
        shine: (f,) how much sky the face mirrors.
        fine: (f,) True for details that only a near car shows.
        hulls: corners of tyres, body and cabin, whose hulls make the silhouette.
        under: corners of the dark space below.
    """

    corners: Points
    slices: tuple[tuple[int, int], ...]
    normals: Points
    centres: Points
    paint: Points
    color: Points
    shine: Points
    fine: NDArray[np.bool_]
    hulls: tuple[Points, ...]
    under: Points


class _Builder:
    """Collects the faces of a mesh."""

    def __init__(self) -> None:
        self.faces: list[Points] = []
        self.facts: list[tuple[Corner, float, Corner, float, bool]] = []

    def add(
        self,
        corners: Sequence[Corner],
        normal: Corner,
        paint: float = 0.0,
        color: Corner = (0.0, 0.0, 0.0),
        *,
        shine: float = 0.0,
        fine: bool = False,
    ) -> None:
        """Add a face over those before it."""
        self.faces.append(np.array(corners, np.float64))
        self.facts.append((normal, paint, color, shine, fine))

    def build(self, hulls: tuple[Points, ...], under: Points) -> _Mesh:
        """Return the mesh."""
        stops = np.cumsum([len(face) for face in self.faces])
        normals = np.array([fact[0] for fact in self.facts])
        return _Mesh(
            corners=np.concatenate(self.faces),
            slices=tuple((int(b) - len(f), int(b)) for f, b in zip(self.faces, stops, strict=True)),
            normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
            centres=np.array([face.mean(axis=0) for face in self.faces]),
            paint=np.array([fact[1] for fact in self.facts]),
            color=np.array([fact[2] for fact in self.facts]),
            shine=np.array([fact[3] for fact in self.facts]),
            fine=np.array([fact[4] for fact in self.facts]),
            hulls=hulls,
            under=under,
        )


def paint(
    canvas: Canvas, vehicle: Vehicle, pose: tuple[Points, float], light: float, sun: Points
) -> None:
    """Paint a car and label it.

    Args:
        canvas: the frame.
        vehicle: its looks.
        pose: (3,) point of the road frame on the ground under its middle, and its direction
            there in radians, positive to the right.
        light: light on the ground there, 0..1.
        sun: (3,) direction to the sun in the road frame, zero when overcast.
    """
    centre, heading = pose
    mesh = _mesh(vehicle.shape)
    camera = canvas.camera

    def place(points: Points) -> Points:
        return camera.see(_turn(points, heading) + centre)

    hulls = [place(part) for part in mesh.hulls]
    distance = float(camera.see(centre[None])[0, 2])
    if hulls[1][:, 2].min() < 2 * NEAR_M:
        return  # beside or behind the camera: out of the picture
    body = np.array(vehicle.paint, np.float64)
    for hull in hulls:
        canvas.mark(hull, CAR)
    canvas.hull(place(mesh.under), canvas.tone((16.0, 16.0, 18.0), 1.0, distance))
    canvas.hull(hulls[1], canvas.tone(body, 0.5, distance))

    # A face is seen when the camera is on its outer side.
    eye = _turn((np.array([camera.x, camera.y, 0.0]) - centre)[None], -heading)[0]
    visible = ((eye - mesh.centres) * mesh.normals).sum(axis=1) > 0
    if distance > _FINE_M:
        visible &= ~mesh.fine
    facing = np.maximum(mesh.normals @ _turn(sun[None], -heading)[0], 0)
    upward = mesh.normals[:, 1]
    bright = (0.62 + 0.16 * upward + 0.45 * facing * light) * (0.6 + 0.4 * light)
    gloss = mesh.shine * np.maximum(upward + 0.3, 0) * light
    tints = mesh.paint[:, None] * body + mesh.color
    tints = tints * bright[:, None] + gloss[:, None] * (150.0, 160.0, 172.0)
    tones = canvas.tones(tints, distance)
    pixels = canvas.pixels(place(mesh.corners))
    for index in np.flatnonzero(visible):
        start, stop = mesh.slices[index]
        canvas.fill(pixels[start:stop], tones[index])


@lru_cache
def _mesh(shape: str) -> _Mesh:
    """Build the mesh of one of `_SHAPES`."""
    profile, cabin = _SHAPES[shape]
    foot, roof = cabin[4:]
    wide, high = _HALF_WIDTH, _HALF_WIDTH - (0.12 if shape == "van" else 0.2)
    builder = _Builder()
    for (za, ya), (zb, yb) in pairwise(profile):
        strip = [(-wide, ya, za), (wide, ya, za), (wide, yb, zb), (-wide, yb, zb)]
        builder.add(strip, (0.0, zb - za, ya - yb), 1.0, shine=0.35)
    for side in (-1.0, 1.0):
        _flank(builder, side, profile, foot)
    _ends(builder, profile)
    _cabin(builder, cabin, wide - 0.04, high)
    outline = np.array([(x, y, z) for z, y in profile for x in (-wide, wide)])
    top: list[Corner] = [
        (x, foot, z) for x in (0.04 - wide, wide - 0.04) for z in (cabin[0], cabin[3])
    ]
    top += [(x, roof, z) for x in (-high, high) for z in (cabin[1], cabin[2])]
    tyres = [(x, y, z) for x in (0.05 - wide, wide - 0.05) for z in (-1.65, 1.65) for y in (0, 0.4)]
    under = [(x, y, z) for x in (0.06 - wide, wide - 0.06) for z in (-1.9, 1.9) for y in (0.1, 0.4)]
    return builder.build((np.array(tyres), outline, np.array(top)), np.array(under))


def _flank(
    builder: _Builder, side: float, profile: Sequence[tuple[float, float]], foot: float
) -> None:
    """Add a side of the body with sill, door seams and wheels."""
    x, out = side * _HALF_WIDTH, (side, 0.0, 0.0)
    builder.add([(x, y, z) for z, y in profile], out, 1.0)
    crease = foot - 0.2
    builder.add([(x, 0.45, -1.95), (x, crease, -1.95), (x, crease, 1.9), (x, 0.45, 1.9)], out, 0.9)
    builder.add([(x, 0.3, -2.0), (x, 0.42, -2.0), (x, 0.42, 1.95), (x, 0.3, 1.95)], out, 0.5)
    for z in (-0.55, 0.45):
        seam = [(x, 0.42, z), (x, foot - 0.04, z), (x, foot - 0.04, z + 0.02), (x, 0.42, z + 0.02)]
        builder.add(seam, out, 0.5, fine=True)
    angles = np.linspace(0, 2 * math.pi, 17)[:-1]
    rings = (
        (0.39, (14.0, 14.0, 15.0), False), (0.33, (30.0, 30.0, 32.0), False),
        (0.21, (140.0, 142.0, 146.0), False), (0.07, (60.0, 60.0, 64.0), True),
    )  # fmt: skip
    for z in (-1.35, 1.38):
        for radius, color, fine in rings:
            ring = [
                (x, max(0.02, 0.34 + radius * math.sin(a)), z + radius * math.cos(a))
                for a in angles
            ]
            builder.add(ring, out, color=color, fine=fine)


def _ends(builder: _Builder, profile: Sequence[tuple[float, float]]) -> None:
    """Add bumpers, lamps, grille and number plates."""
    low = profile[0][1]
    ends = (
        (profile[0][0] - 0.06, -1.0, (190.0, 22.0, 22.0), profile[1][1] + 0.08),
        (profile[-1][0] + 0.03, 1.0, (236.0, 236.0, 214.0), profile[-2][1] - 0.04),
    )

    def plate(left: float, right: float, y: float, top: float, z: float) -> list[Corner]:
        return [(left, y, z), (right, y, z), (right, top, z), (left, top, z)]

    for z, sign, lamp, y in ends:
        out = (0.0, 0.0, sign)
        builder.add(plate(-0.88, 0.88, low, low + 0.14, z), out, 0.35, (12.0, 12.0, 12.0))
        for side in (-1.0, 1.0):
            inner, outer = sorted((side * 0.56, side * 0.87))
            builder.add(plate(inner, outer, y, y + 0.14, z), out, color=lamp)
        if sign > 0:
            grille = plate(-0.5, 0.5, y - 0.02, y + 0.1, z)
            builder.add(grille, out, color=(22.0, 22.0, 24.0), fine=True)
        white = (220.0, 220.0, 214.0)
        builder.add(plate(-0.26, 0.26, low + 0.17, low + 0.28, z), out, color=white, fine=True)


def _cabin(
    builder: _Builder,
    shape: tuple[float, float, float, float, float, float],
    low: float,
    high: float,
) -> None:
    """Add pillars and glass, then the roof."""
    z0, z1, z2, z3, foot, roof = shape
    rise = roof - foot
    faces = (
        ((-low, z0), (low, z0), (high, z1), (-high, z1), (0.0, z1 - z0, -rise)),
        ((-low, z3), (low, z3), (high, z2), (-high, z2), (0.0, z3 - z2, rise)),
        ((-low, z0), (-low, z3), (-high, z2), (-high, z1), (-rise, low - high, 0.0)),
        ((low, z0), (low, z3), (high, z2), (high, z1), (rise, low - high, 0.0)),
    )
    for index, (a, b, c, d, normal) in enumerate(faces):
        ends = index < 2  # noqa: PLR2004 -- windscreen and rear window come first
        corners = [(a[0], foot, a[1]), (b[0], foot, b[1]), (c[0], roof, c[1]), (d[0], roof, d[1])]
        builder.add(corners, normal, 1.0, shine=0.2)
        for t0, t1 in ((0.06, 0.94),) if ends else ((0.05, 0.46), (0.5, 0.94)):
            base = [_between(corners[0], corners[1], t) for t in (t0, t1)]
            head = [_between(corners[3], corners[2], t) for t in (t0, t1)]
            pane = [
                _between(base[0], head[0], 0.1), _between(base[1], head[1], 0.1),
                _between(base[1], head[1], 0.86), _between(base[0], head[0], 0.86),
            ]  # fmt: skip
            builder.add(pane, normal, color=_GLASS, shine=0.35)
            mirror = [
                _between(pane[0], pane[3], 0.55), _between(pane[1], pane[2], 0.4), pane[2], pane[3]
            ]  # fmt: skip
            builder.add(mirror, normal, color=(66.0, 78.0, 92.0), shine=0.45, fine=True)
    top = [(-high, roof, z1), (high, roof, z1), (high, roof, z2), (-high, roof, z2)]
    builder.add(top, (0.0, 1.0, 0.0), 1.0, shine=0.5)


def _between(a: Corner, b: Corner, share: float) -> Corner:
    return (
        a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share,
    )  # fmt: skip
