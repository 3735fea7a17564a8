"""YAML files of users, read strictly: every value is what it looks like, every error has its line.

YAML turns plain words into dates, base-60 numbers, octals and infinities, and lets a key be given
twice. None of that is accepted here.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

# Keys and indices from the top of a file to a value.
KeyPath = tuple["str | int", ...]

_MAX_FILE_BYTES = 1 << 20
_SHOWN = 60
# Of YAML 1.1 and 1.2 alike: a leading 0 is octal in one of them.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18}|0x[0-9a-fA-F]{1,16})")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?")


def read(path: Path, what: str) -> tuple[object, dict[KeyPath, int]]:
    """Read a file.

    Args:
        path: the file, of at most a mebibyte.
        what: what errors call it, such as ``label map``.

    Returns:
        Dictionaries, lists, text, whole numbers, None, and what is none of these; the line of each.

    Raises:
        ConfigurationError: unreadable or no YAML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"{what} {path} cannot be read: {reason}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigurationError(
            f"{what} {path} is larger than {_MAX_FILE_BYTES} bytes: is it a {what}?"
        )
    lines: dict[KeyPath, int] = {}
    try:
        node = _Loader(raw).get_single_node()
        data = _plain(node, (), lines, f"{what} {path}") if node is not None else None
    except yaml.YAMLError as error:
        raise ConfigurationError(_describe(error, path, what)) from error
    except RecursionError:
        raise ConfigurationError(f"{what} {path}: nested too deeply") from None
    return data, lines


class Checker:
    """Checks the values of one file and words its errors.

    Args:
        what: what errors call it, such as ``label map``.
        origin: which.
        lines: the line of each value.
    """

    def __init__(self, what: str, origin: str, lines: Mapping[KeyPath, int]) -> None:
        self._what = what
        self._origin = origin
        self._lines = lines

    def mapping(self, value: object, path: KeyPath, keys: Collection[str]) -> Mapping[str, object]:
        """Return a mapping that has none but these keys."""
        if not isinstance(value, dict) or not value:
            what = "is empty" if value in (None, {}) else f"is {show(value)}"
            self.fail(path, f"{what}, expected keys and values: {', '.join(keys)}")
        for key in value:
            if key not in keys:
                self.fail((*path, str(key)), f"is not a key here; known: {', '.join(keys)}")
        return value

    def items(self, value: object, path: KeyPath) -> list[Any]:
        """Return a list."""
        if not isinstance(value, (list, tuple)):
            self.fail(path, f"is {show(value)}, expected a list")
        return list(value)

    def text(self, value: object, path: KeyPath) -> str:
        """Return text on one line."""
        if not isinstance(value, str):
            self.fail(path, f"is {show(value)}, expected text: put it in quotes")
        if not value.isprintable():
            self.fail(path, f"is {show(value)}, expected printable text on one line")
        return value.strip()

    def integer(self, value: object, path: KeyPath, largest: int, least: int = 0) -> int:
        """Return a whole number within limits."""
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
            expected = f"expected a whole number from {least} to {largest}"
            self.fail(path, f"is {show(value)}, {expected}")
        return value

    def number(self, value: object, path: KeyPath, least: float, largest: float) -> float:
        """Return a decimal number within limits."""
        text = repr(value) if isinstance(value, _Odd) else str(value)
        plain = isinstance(value, _Odd | int | float) and not isinstance(value, bool)
        number = float(text) if plain and _NUMBER.fullmatch(text) else math.nan
        if not least <= number <= largest:
            expected = f"expected a number from {least:g} to {largest:g}"
            self.fail(path, f"is {show(value)}, {expected}")
        return number

    def fail(self, path: KeyPath, problem: str) -> NoReturn:
        """Complain about a value.

        Raises:
            ConfigurationError: always; it names the file, the line and the keys.
        """
        raise ConfigurationError(f"{self.place(path)}: {spell(path)} {problem}")

    def place(self, path: KeyPath) -> str:
        """Return the file and the line of a value."""
        known = path
        while known and known not in self._lines:
            known = known[:-1]
        line = f", line {self._lines[known]}" if known in self._lines else ""
        return f"{self._what} {self._origin}{line}"


class _Loader(yaml.SafeLoader):
    """A safe loader without aliases, which could make a small file expand without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not supported", problem_mark=mark
            )
        return super().compose_node(parent, index)


def _describe(error: yaml.YAMLError, path: Path, what: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        if error.encoding != "unicode":
            return f"{what} {path}, byte {error.position}: not UTF-8: save it as UTF-8"
        return (
            f"{what} {path}, character {error.position}: is U+{error.character:04X}, which YAML "
            "does not allow: remove it"
        )
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    where = f", line {mark.line + 1}" if mark is not None else ""
    return f"{what} {path}{where}: {problem}"


def _plain(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], origin: str) -> object:
    """Turn a node into plain types, noting the line of every value."""
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines, origin) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        result: dict[object, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            here: KeyPath = (*path, key)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigurationError(f"{origin}, line {line}: a key must be a word")
            if key in result:
                raise ConfigurationError(f"{origin}, line {line}: {spell(here)} is given twice")
            result[key] = _plain(value_node, here, lines, origin)
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


def spell(path: KeyPath) -> str:
    """Return keys as a user would write them, ``classes[2].name``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return _short(printable(text.lstrip("."))) or "the file"


def show(value: object) -> str:
    """Return a value as it is written, cut short if it is long."""
    try:
        return _short(re.sub(r"\s+", " ", repr(value)))
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists in lists in lists.
        return f"a {type(value).__name__} that is too large to show"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
