"""The file that declares regions.

regions:
  - {name: near, rows: [0.6, 1.0]}
  - {name: lane, polygon: [[0.4, 0.5], [0.6, 0.5], [1.0, 1.0], [0.0, 1.0]]}
  - {name: border, border: 3}
  - {name: interior, interior: 3}
  - {name: contours, void: 3}
  - {name: small objects, objects: small}
  - {name: bonnet, mask: bonnet.png, ignore: true}
  - {name: beyond 30 m, depth: [30, .inf]}
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from typing import TYPE_CHECKING

from deeplab_miou import strict_yaml
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.region_scores import WHOLE_IMAGE
from deeplab_miou.paths import user_path
from deeplab_miou.regions.contents import ObjectSize
from deeplab_miou.regions.regions import Border, DepthBand, Region, Regions, VoidBand, Where
from deeplab_miou.regions.shapes import Polygon, Rows, Shape, read_mask
from deeplab_miou.strict_yaml import Checker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deeplab_miou.strict_yaml import KeyPath

_WHAT = "regions file"
_KINDS = ("mask", "rows", "polygon", "border", "interior", "void", "objects", "depth")
_KEYS = ("name", *_KINDS, "ignore")
_MOST_REGIONS = 32
_LONGEST_NAME = 60
_MOST_POINTS = 1000
_MOST_PIXELS = 32768
_MOST_DISTANCE = 50
_FEWEST_POINTS = 3
_MOST_METRES = 1e6
# As YAML 1.1 spells it.
_INFINITY = (".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF")


def read_regions(file: str) -> Regions:
    """Read a regions file; no file has no regions.

    Args:
        file: its path, empty for none.

    Raises:
        ConfigurationError: it is unreadable or malformed, or a mask is; the message names file,
            line and key.
    """
    if not file:
        return Regions()
    path = user_path(file)
    data, lines = strict_yaml.read(path, _WHAT)
    return _Checker(_WHAT, str(path), lines).regions(data, path.parent)


class _Checker(Checker):
    """Checks one regions file."""

    def regions(self, data: object, folder: Path) -> Regions:
        top = self.mapping(data, (), ("regions",))
        if "regions" not in top:
            self.fail((), "has no key regions")
        items = self.items(top["regions"], ("regions",))
        if not 1 <= len(items) <= _MOST_REGIONS:
            self.fail(("regions",), f"has {len(items)} entries, expected 1 to {_MOST_REGIONS}")
        scored: list[Region] = []
        ignored: list[Shape] = []
        seen: dict[str, int] = {}
        for i, item in enumerate(items):
            path: KeyPath = ("regions", i)
            entry = self.mapping(item, path, _KEYS)
            region = self._region(entry, path, folder)
            # Pages and terminals show runs of spaces, and composed letters, alike.
            shown = " ".join(unicodedata.normalize("NFC", region.name).split())
            if seen.setdefault(shown, i) != i:
                self.fail((*path, "name"), f"is {region.name!r}, like regions[{seen[shown]}]")
            if not self._is_ignored(entry, path):
                scored.append(region)
            elif isinstance(region.where, Shape):
                ignored.append(region.where)
            else:
                self.fail((*path, "ignore"), "is for a mask, rows or a polygon only")
        return Regions(tuple(scored), tuple(ignored), self._digest(data, scored, ignored))

    def _region(self, entry: Mapping[str, object], path: KeyPath, folder: Path) -> Region:
        name = self.text(entry.get("name", ""), (*path, "name"))
        if not name:
            self.fail(path, "has no name")
        if len(name) > _LONGEST_NAME:
            self.fail((*path, "name"), f"has {len(name)} letters, expected at most {_LONGEST_NAME}")
        if name == WHOLE_IMAGE:
            self.fail(
                (*path, "name"), f"is {name!r}, which reports use for all of it: choose another"
            )
        kinds = [key for key in entry if key in _KINDS]
        if len(kinds) != 1:
            has = " and ".join(kinds) or "nothing that says where it is"
            self.fail(path, f"has {has}, expected one of: {', '.join(_KINDS)}")
        return Region(name, self._where(entry, kinds[0], path, folder))

    def _where(self, entry: Mapping[str, object], kind: str, path: KeyPath, folder: Path) -> Where:
        value, at = entry[kind], (*path, kind)
        if kind in {"border", "interior", "void"}:
            distance = self.number(value, at, 1, _MOST_DISTANCE)
            return (
                VoidBand(distance)
                if kind == "void"
                else Border(distance, interior=kind == "interior")
            )
        if kind == "objects":
            size = self.text(value, at)
            known = [each.value for each in ObjectSize]
            if size not in known:
                self.fail(at, f"is {size!r}, expected one of: {', '.join(known)}")
            return ObjectSize(size)
        if kind == "rows":
            return self._rows(value, at)
        if kind == "polygon":
            return self._polygon(value, at)
        if kind == "depth":
            return self._depth(value, at)
        file = self.text(value, at)
        if not file:
            self.fail(at, "is empty, expected a PNG")
        try:
            return read_mask(folder / user_path(file))
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.place(at)}: {error}") from None

    def _rows(self, value: object, path: KeyPath) -> Rows:
        edges = self.items(value, path)
        if len(edges) != 2:  # noqa: PLR2004
            self.fail(path, f"has {len(edges)} entries, expected the first row and the one past it")
        fractions = self._are_fractions(edges)
        first, past_last = (
            self._coordinate(edge, (*path, i), fractions=fractions) for i, edge in enumerate(edges)
        )
        if first >= past_last:
            self.fail(path, f"goes from {first:g} to {past_last:g}, which is no row")
        return Rows(first, past_last, fractions=fractions)

    def _depth(self, value: object, path: KeyPath) -> DepthBand:
        bounds = self.items(value, path)
        if len(bounds) != 2:  # noqa: PLR2004
            self.fail(path, f"has {len(bounds)} entries, expected from and to, in metres")
        near = self.number(bounds[0], (*path, 0), 0, _MOST_METRES)
        far = math.inf
        if repr(bounds[1]) not in _INFINITY:
            far = self.number(bounds[1], (*path, 1), 0, _MOST_METRES)
        if near >= far:
            self.fail(path, f"goes from {near:g} to {far:g} m, which is no distance")
        return DepthBand(near, far)

    def _polygon(self, value: object, path: KeyPath) -> Polygon:
        corners = [self.items(each, (*path, i)) for i, each in enumerate(self.items(value, path))]
        if not _FEWEST_POINTS <= len(corners) <= _MOST_POINTS:
            expected = f"expected {_FEWEST_POINTS} to {_MOST_POINTS}"
            self.fail(path, f"has {len(corners)} corners, {expected}")
        fractions = self._are_fractions([each for corner in corners for each in corner])
        points: list[tuple[float, float]] = []
        for i, corner in enumerate(corners):
            if len(corner) != 2:  # noqa: PLR2004
                self.fail((*path, i), f"has {len(corner)} numbers, expected x and y")
            x, y = (
                self._coordinate(each, (*path, i, k), fractions=fractions, beyond=1)
                for k, each in enumerate(corner)
            )
            points.append((x, y))
        if not fractions and all(abs(x) <= 1 and abs(y) <= 1 for x, y in points):
            self.fail(
                path,
                "has only 0 and 1, which as whole numbers are pixels: write 1.0 for all of the "
                "width or height",
            )
        return Polygon(tuple(points), fractions=fractions)

    def _are_fractions(self, numbers: list[object]) -> bool:
        """Tell 0.5 and 1.0 from 1: whole numbers are pixels."""
        return any(not isinstance(number, int) for number in numbers)

    def _coordinate(
        self, value: object, path: KeyPath, *, fractions: bool, beyond: int = 0
    ) -> float:
        """Return a coordinate that may lie so many widths or heights beyond the image's edges."""
        number = self.number(value, path, -beyond * _MOST_PIXELS, _MOST_PIXELS)
        if fractions and not -beyond <= number <= 1 + beyond:
            self.fail(
                path,
                f"is {number:g}, expected a number from {-beyond} to {1 + beyond}: if one has a "
                "decimal point, all are fractions; round pixels to whole numbers",
            )
        return number

    def _is_ignored(self, entry: Mapping[str, object], path: KeyPath) -> bool:
        if "ignore" not in entry:
            return False
        ignore = repr(entry["ignore"])
        if ignore not in {"true", "false"}:
            self.fail((*path, "ignore"), f"is {ignore}, expected true or false")
        return ignore == "true"

    def _digest(self, data: object, scored: list[Region], ignored: list[Shape]) -> str:
        digest = hashlib.sha256(repr(data).encode())
        for where in (*(each.where for each in scored), *ignored):
            pixels = getattr(where, "pixels", None)
            if pixels is not None:
                digest.update(pixels.tobytes())
        return digest.hexdigest()
