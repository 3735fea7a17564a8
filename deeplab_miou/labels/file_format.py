"""The label map format: YAML or plain dictionaries checked key by key.

A file is short enough to write by hand::

    name: my_robot              # default: the file's name
    description: where it is from
    unmapped: ignore            # raw values not listed below: ignore (and count them), or error
    ignore_index: 255           # train id of pixels that are not scored, 255 if not given
    classes:                    # in the order of the network's outputs: the first has train id 0
      - {name: road, color: [128, 64, 128], ids: [7, 9]}
      - {name: car, color: [0, 0, 142], ids: [26]}
    ignore:                     # raw values that are known and not scored
      - {name: void, color: [0, 0, 0], ids: [0, 255]}

A class's ``ids`` (0 to 65535) are the raw ids that mean it; when no class has ``ids``, raw ids are
train ids and ``ignore_index`` is known. ``color`` is what it is painted with and what stands for it
in a label image of colours; ``colors`` lists the latter where they differ, and may be empty. If no
class has a ``color``, a palette is generated and colour labels cannot be read.

``aliases`` of a class are other names that it may have where ids are published by name while a
stream runs, see `deeplab_miou.labels.legend`.

Some label images hold more than the raw id, or hold it elsewhere::

    id_channel: red             # images of colours hold ids in that channel (or green, blue); rgb:
                                # red + 256 green + 65536 blue, as COCO's panoptic images
    id_divisor: 1000            # panoptic values: id = value // 1000; 65536 for the high 16 bits
    below_divisor: id           # values below it are ids themselves, as in Cityscapes' instanceIds;
                                # zero: instances of id 0; not given: unknown
    id_modulus: 65536           # id = value % 65536, the low 16 bits; after id_divisor if both
    indexed_png: index          # an indexed PNG means its indices; color: its palette's colours

Without ``indexed_png`` an indexed PNG is read only where the file and the map leave no doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deeplab_miou import strict_yaml
from deeplab_miou.labels.raw_ids import BELOW_DIVISOR, CHANNELS, INDEXED_PNG, RawIds
from deeplab_miou.strict_yaml import Checker, show, spell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deeplab_miou.strict_yaml import KeyPath

Color = tuple[int, int, int]

_WHAT = "label map"
MAX_CLASSES = 255
MAX_RAW_ID = 65535
_TOP_KEYS = (
    "name",
    "description",
    "unmapped",
    "ignore_index",
    "id_channel",
    "id_divisor",
    "id_modulus",
    "below_divisor",
    "indexed_png",
    "classes",
    "ignore",
)
_CLASS_KEYS = ("name", "color", "colors", "ids", "aliases")
_POLICIES = ("ignore", "error")
_MAX_DIVISOR = 1 << 24


@dataclass(frozen=True)
class Entry:
    """One class, or one group of raw values that is ignored.

    Attributes:
        name: what a report calls it; may be empty for an ignored group.
        color: RGB colour to paint it with, if given.
        colors: RGB colours that mean it in a label image.
        ids: raw ids that mean it in a label image.
        aliases: what it may also be called where ids are published by name.
    """

    name: str
    color: Color | None
    colors: tuple[Color, ...]
    ids: tuple[int, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spec:
    """A checked label map, in the file's own terms; a class's train id is its position."""

    name: str
    description: str
    classes: tuple[Entry, ...]
    ignore: tuple[Entry, ...]
    ignore_index: int
    unmapped: str
    raw_ids: RawIds


def read(path: Path) -> Spec:
    """Read and check a label map file.

    Raises:
        ConfigurationError: unreadable or malformed; the message names file, line and key.
    """
    data, lines = strict_yaml.read(path, _WHAT)
    return _Checker(_WHAT, str(path), lines).spec(data, default_name=path.stem)


def check(mapping: Mapping[str, object], origin: str) -> Spec:
    """Check a label map given as plain types.

    Args:
        mapping: the same keys as a file.
        origin: what error messages call it.

    Raises:
        ConfigurationError: malformed; the message names origin and key.
    """
    return _Checker(_WHAT, origin, {}).spec(mapping, default_name="")


class _Checker(Checker):
    """Checks one label map and words its errors."""

    def spec(self, data: object, default_name: str) -> Spec:
        top = self.mapping(data, (), _TOP_KEYS)
        name = self.text(top.get("name", default_name), ("name",))
        if not name:
            self.fail(("name",), "is empty: give the label map a name")
        description = self.text(top.get("description", ""), ("description",))
        unmapped = self._choice(top, "unmapped", _POLICIES) or "ignore"
        classes = self._classes(top)
        ignore = tuple(
            self._entry(item, ("ignore", i), named=False)
            for i, item in enumerate(self.items(top.get("ignore", []), ("ignore",)))
        )
        ignore_index = self.integer(top.get("ignore_index", 255), ("ignore_index",), 255)
        if ignore_index < len(classes):
            self.fail(
                ("ignore_index",),
                f"is {ignore_index}, which is the train id of class "
                f"{classes[ignore_index].name!r}: choose {len(classes)} to 255",
            )
        self._unique(classes, ignore)
        return Spec(name, description, classes, ignore, ignore_index, unmapped, self._raw_ids(top))

    def _raw_ids(self, top: Mapping[str, object]) -> RawIds:
        divisor = self.integer(top.get("id_divisor", 1), ("id_divisor",), _MAX_DIVISOR, least=1)
        modulus = 0
        if "id_modulus" in top:
            modulus = self.integer(top["id_modulus"], ("id_modulus",), _MAX_DIVISOR, least=2)
        below = self._choice(top, "below_divisor", BELOW_DIVISOR)
        if below and divisor == 1:
            self.fail(("below_divisor",), "is given without id_divisor")
        return RawIds(
            id_channel=self._choice(top, "id_channel", CHANNELS),
            id_divisor=divisor,
            id_modulus=modulus,
            below_divisor=below,
            indexed_png=self._choice(top, "indexed_png", INDEXED_PNG),
        )

    def _choice(self, top: Mapping[str, object], key: str, choices: tuple[str, ...]) -> str:
        """Return one of some words; empty if the key is not given."""
        value = top.get(key, "")
        if not isinstance(value, str) or value not in ("", *choices):
            self.fail((key,), f"is {show(value)}, expected one of: {', '.join(choices)}")
        return value

    def _classes(self, top: Mapping[str, object]) -> tuple[Entry, ...]:
        if "classes" not in top:
            self.fail((), "has no classes: give a list of name, color, ids")
        items = self.items(top["classes"], ("classes",))
        if not 1 <= len(items) <= MAX_CLASSES:
            self.fail(("classes",), f"has {len(items)} entries, expected 1 to {MAX_CLASSES}")
        entries = [self._entry(v, ("classes", i), named=True) for i, v in enumerate(items)]
        for key in ("ids", "color"):
            given = [isinstance(item, dict) and key in item for item in items]
            if any(given) and not all(given):
                path = ("classes", given.index(False))
                self.fail(path, f"has no {key}, but others have: give it for all classes or none")
            if key == "ids" and not any(given):
                entries = [replace(entry, ids=(i,)) for i, entry in enumerate(entries)]
        first: dict[str, int] = {}
        for i, entry in enumerate(entries):
            if first.setdefault(entry.name, i) != i:
                where = spell(("classes", first[entry.name]))
                self.fail(("classes", i, "name"), f"{entry.name!r} is the name of {where} already")
        return tuple(entries)

    def _entry(self, data: object, path: KeyPath, *, named: bool) -> Entry:
        item = self.mapping(data, path, _CLASS_KEYS)
        if named and "name" not in item:
            self.fail(path, "has no name")
        name = self.text(item.get("name", ""), (*path, "name"))
        if named and not name:
            self.fail((*path, "name"), "is empty")
        color = self._color(item["color"], (*path, "color")) if "color" in item else None
        colors: tuple[Color, ...] = () if color is None else (color,)
        if "colors" in item:
            colors = tuple(
                self._color(value, (*path, "colors", i))
                for i, value in enumerate(self.items(item["colors"], (*path, "colors")))
            )
        ids = tuple(
            self.integer(value, (*path, "ids", i), MAX_RAW_ID)
            for i, value in enumerate(self.items(item.get("ids", []), (*path, "ids")))
        )
        aliases = tuple(
            self.text(value, (*path, "aliases", i))
            for i, value in enumerate(self.items(item.get("aliases", []), (*path, "aliases")))
        )
        return Entry(name, color, colors, ids, aliases)

    def _unique(self, classes: tuple[Entry, ...], ignore: tuple[Entry, ...]) -> None:
        """Fail on a raw id or colour that is given twice: it would be ambiguous."""
        seen: dict[object, KeyPath] = {}
        for group, entries in (("classes", classes), ("ignore", ignore)):
            for i, entry in enumerate(entries):
                path: KeyPath
                given: list[tuple[object, KeyPath]] = [
                    (value, (group, i, "ids", k)) for k, value in enumerate(entry.ids)
                ]
                listed = entry.colors != (entry.color,)
                for k, color in enumerate(entry.colors):
                    path = (group, i, "colors", k) if listed else (group, i, "color")
                    given.append((color, path))
                for value, path in given:
                    if value in seen:
                        what = f"is {show(value)}, which is {spell(seen[value])} already"
                        self.fail(path, what)
                    seen[value] = path

    def _color(self, value: object, path: KeyPath) -> Color:
        items = value if isinstance(value, (list, tuple)) else ()
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in items)
        if len(items) != 3 or not whole or not all(0 <= v <= 255 for v in items):  # noqa: PLR2004
            self.fail(path, f"is {show(value)}, expected [red, green, blue] from 0 to 255 each")
        return (items[0], items[1], items[2])
