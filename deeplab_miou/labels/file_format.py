"""The label map format: YAML or plain dictionaries checked key by key.

What the format means is told in `deeplab_miou.labels.label_map`; here it is read and checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.labels.raw_ids import BELOW_DIVISOR, CHANNELS, INDEXED_PNG, RawIds
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

Color = tuple[int, int, int]
_Path = tuple[str | int, ...]

MAX_CLASSES = 255
MAX_RAW_ID = 65535
_MAX_FILE_BYTES = 1 << 20
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
_CLASS_KEYS = ("name", "color", "colors", "ids")
_POLICIES = ("ignore", "error")
_MAX_DIVISOR = 1 << 24
_SHOWN = 60
# Of YAML 1.1 and 1.2 alike: a leading 0 is octal in one of them.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18}|0x[0-9a-fA-F]{1,16})")


@dataclass(frozen=True)
class Entry:
    """One class, or one group of raw values that is ignored.

    Attributes:
        name: what a report calls it; may be empty for an ignored group.
        color: RGB colour to paint it with, if given.
        colors: RGB colours that mean it in a label image.
        ids: raw ids that mean it in a label image.
    """

    name: str
    color: Color | None
    colors: tuple[Color, ...]
    ids: tuple[int, ...]


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
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"label map {path} cannot be read: {reason}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigurationError(
            f"label map {path} is larger than {_MAX_FILE_BYTES} bytes: is it a label map?"
        )
    lines: dict[_Path, int] = {}
    try:
        node = _Loader(raw).get_single_node()
        data = _plain(node, (), lines, str(path)) if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigurationError(_describe(error, path)) from error
    except RecursionError:
        raise ConfigurationError(f"label map {path}: nested too deeply") from None
    return _Checker(str(path), lines).spec(data, default_name=path.stem)


def check(mapping: Mapping[str, object], source: str) -> Spec:
    """Check a label map given as plain types.

    Args:
        mapping: the same keys as a file.
        source: what error messages call it.

    Raises:
        ConfigurationError: malformed; the message names source and key.
    """
    return _Checker(source, {}).spec(mapping, default_name="")


class _Loader(yaml.SafeLoader):
    """A safe loader without aliases, which could make a small file expand without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not supported", problem_mark=mark
            )
        return super().compose_node(parent, index)


def _describe(error: yaml.YAMLError, path: Path) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    where = f", line {mark.line + 1}" if mark is not None else ""
    return f"label map {path}{where}: {problem}"


def _plain(node: yaml.Node, path: _Path, lines: dict[_Path, int], source: str) -> object:
    """Turn a node into plain types, noting the line of every value."""
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines, source) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        result: dict[object, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            here: _Path = (*path, key)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigurationError(f"label map {source}, line {line}: a key must be a word")
            if key in result:
                raise ConfigurationError(
                    f"label map {source}, line {line}: {_spell(here)} is given twice"
                )
            result[key] = _plain(value_node, here, lines, source)
            lines[here] = line
        return result
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    """Return text, whole numbers and nothing as such, all else as it is written.

    YAML makes dates, base-60 numbers, octals and infinities of plain words. None of them means
    anything here, and the library stumbles over some.
    """
    text = str(node.value)
    if node.tag == "tag:yaml.org,2002:str":
        return text
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:int" and _INTEGER.fullmatch(text):
        return int(text, 0)
    return _Odd(text)


class _Odd:
    """A value that is neither text nor a whole number; shown as it is written."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return printable(self._text)


def _spell(path: _Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _short(printable(text.lstrip("."))) or "the file"


class _Checker:
    """Checks one label map and words its errors."""

    def __init__(self, source: str, lines: Mapping[_Path, int]) -> None:
        self._source = source
        self._lines = lines

    def spec(self, data: object, default_name: str) -> Spec:
        top = self._mapping(data, (), _TOP_KEYS)
        name = self._text(top.get("name", default_name), ("name",))
        if not name:
            self._fail(("name",), "is empty: give the label map a name")
        description = self._text(top.get("description", ""), ("description",))
        unmapped = self._choice(top, "unmapped", _POLICIES) or "ignore"
        classes = self._classes(top)
        ignore = tuple(
            self._entry(item, ("ignore", i), named=False)
            for i, item in enumerate(self._list(top.get("ignore", []), ("ignore",)))
        )
        ignore_index = self._integer(top.get("ignore_index", 255), ("ignore_index",), 255)
        if ignore_index < len(classes):
            self._fail(
                ("ignore_index",),
                f"is {ignore_index}, which is the train id of class "
                f"{classes[ignore_index].name!r}: choose {len(classes)} to 255",
            )
        self._unique(classes, ignore)
        return Spec(name, description, classes, ignore, ignore_index, unmapped, self._raw_ids(top))

    def _raw_ids(self, top: Mapping[str, object]) -> RawIds:
        divisor = self._integer(top.get("id_divisor", 1), ("id_divisor",), _MAX_DIVISOR, least=1)
        modulus = 0
        if "id_modulus" in top:
            modulus = self._integer(top["id_modulus"], ("id_modulus",), _MAX_DIVISOR, least=2)
        below = self._choice(top, "below_divisor", BELOW_DIVISOR)
        if below and divisor == 1:
            self._fail(("below_divisor",), "is given without id_divisor")
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
            self._fail((key,), f"is {_show(value)}, expected one of: {', '.join(choices)}")
        return value

    def _classes(self, top: Mapping[str, object]) -> tuple[Entry, ...]:
        if "classes" not in top:
            self._fail((), "has no classes: give a list of name, color, ids")
        items = self._list(top["classes"], ("classes",))
        if not 1 <= len(items) <= MAX_CLASSES:
            self._fail(("classes",), f"has {len(items)} entries, expected 1 to {MAX_CLASSES}")
        entries = [self._entry(v, ("classes", i), named=True) for i, v in enumerate(items)]
        for key in ("ids", "color"):
            given = [isinstance(item, dict) and key in item for item in items]
            if any(given) and not all(given):
                path = ("classes", given.index(False))
                self._fail(path, f"has no {key}, but others have: give it for all classes or none")
            if key == "ids" and not any(given):
                entries = [replace(entry, ids=(i,)) for i, entry in enumerate(entries)]
        first: dict[str, int] = {}
        for i, entry in enumerate(entries):
            if first.setdefault(entry.name, i) != i:
                where = _spell(("classes", first[entry.name]))
                self._fail(("classes", i, "name"), f"{entry.name!r} is the name of {where} already")
        return tuple(entries)

    def _entry(self, data: object, path: _Path, *, named: bool) -> Entry:
        item = self._mapping(data, path, _CLASS_KEYS)
        if named and "name" not in item:
            self._fail(path, "has no name")
        name = self._text(item.get("name", ""), (*path, "name"))
        if named and not name:
            self._fail((*path, "name"), "is empty")
        color = self._color(item["color"], (*path, "color")) if "color" in item else None
        colors: tuple[Color, ...] = () if color is None else (color,)
        if "colors" in item:
            colors = tuple(
                self._color(value, (*path, "colors", i))
                for i, value in enumerate(self._list(item["colors"], (*path, "colors")))
            )
        ids = tuple(
            self._integer(value, (*path, "ids", i), MAX_RAW_ID)
            for i, value in enumerate(self._list(item.get("ids", []), (*path, "ids")))
        )
        return Entry(name, color, colors, ids)

    def _unique(self, classes: tuple[Entry, ...], ignore: tuple[Entry, ...]) -> None:
        """Fail on a raw id or colour that is given twice: which one counts would be a guess."""
        seen: dict[object, _Path] = {}
        for group, entries in (("classes", classes), ("ignore", ignore)):
            for i, entry in enumerate(entries):
                path: _Path
                given: list[tuple[object, _Path]] = [
                    (value, (group, i, "ids", k)) for k, value in enumerate(entry.ids)
                ]
                listed = entry.colors != (entry.color,)
                for k, color in enumerate(entry.colors):
                    path = (group, i, "colors", k) if listed else (group, i, "color")
                    given.append((color, path))
                for value, path in given:
                    if value in seen:
                        what = f"is {_show(value)}, which is {_spell(seen[value])} already"
                        self._fail(path, what)
                    seen[value] = path

    def _mapping(self, value: object, path: _Path, keys: Collection[str]) -> Mapping[str, object]:
        if not isinstance(value, dict) or not value:
            what = "is empty" if value in (None, {}) else f"is {_show(value)}"
            self._fail(path, f"{what}, expected keys and values: {', '.join(keys)}")
        for key in value:
            if key not in keys:
                self._fail((*path, str(key)), f"is not a key here; known: {', '.join(keys)}")
        return value

    def _list(self, value: object, path: _Path) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            self._fail(path, f"is {_show(value)}, expected a list")
        return list(value)

    def _text(self, value: object, path: _Path) -> str:
        if not isinstance(value, str):
            self._fail(path, f"is {_show(value)}, expected text: put it in quotes")
        if not value.isprintable():
            self._fail(path, f"is {_show(value)}, expected printable text on one line")
        return value.strip()

    def _integer(self, value: object, path: _Path, largest: int, least: int = 0) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
            expected = f"expected a whole number from {least} to {largest}"
            self._fail(path, f"is {_show(value)}, {expected}")
        return value

    def _color(self, value: object, path: _Path) -> Color:
        items = value if isinstance(value, (list, tuple)) else ()
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in items)
        if len(items) != 3 or not whole or not all(0 <= v <= 255 for v in items):  # noqa: PLR2004
            self._fail(path, f"is {_show(value)}, expected [red, green, blue] from 0 to 255 each")
        return (items[0], items[1], items[2])

    def _fail(self, path: _Path, problem: str) -> NoReturn:
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        line = f", line {self._lines[known]}" if known in self._lines else ""
        raise ConfigurationError(f"label map {self._source}{line}: {_spell(path)} {problem}")


def _show(value: object) -> str:
    try:
        return _short(re.sub(r"\s+", " ", repr(value)))
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists in lists in lists.
        return f"a {type(value).__name__} that is too large to show"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
