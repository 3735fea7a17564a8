"""Texts of message definitions, from the folders that packages share."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPE_NAME = re.compile(r"(?P<package>[a-z][a-z0-9_]*)/msg/(?P<name>[A-Z][A-Za-z0-9]*)")
# Of a field: its type without bounds, then a name; a constant has an equals sign after it.
_FIELD = re.compile(r"\s*(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*")
_BREAK = "=" * 80
_PLAIN = {
    *("bool", "byte", "char", "string", "wstring", "float32", "float64"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
_LONGEST = 1_000_000


def full_definition(type_name: str) -> str | None:
    """Return the definition of a type with those that it needs, as bags and Foxglove have them.

    Args:
        type_name: such as ``sensor_msgs/msg/Image``.

    Returns:
        The text; None if a file of it is not installed, or the name is none of a message.
    """
    texts: dict[str, str] = {}
    wanted = [type_name]
    while wanted:
        each = wanted.pop(0)
        if each in texts:
            continue
        text = _read(each)
        if text is None:
            return None
        texts[each] = text
        wanted += _needed(text, package=each.partition("/")[0])
    first, *others = texts.items()
    parts = [first[1]]
    for name, text in others:
        parts += [_BREAK, f"MSG: {name.replace('/msg/', '/')}", text]
    return "\n".join(parts)


def _needed(text: str, package: str) -> Iterator[str]:
    for line in text.splitlines():
        found = _FIELD.match(line)
        if found and found["type"] not in _PLAIN:
            *before, name = found["type"].split("/")
            yield f"{before[0] if before else package}/msg/{name}"


def _read(type_name: str) -> str | None:
    # The name comes from the network: nothing but a name goes into a path.
    found = _TYPE_NAME.fullmatch(type_name)
    if found is None:
        return None
    for prefix in _prefixes(found["package"]):
        path = prefix / "share" / found["package"] / "msg" / f"{found['name']}.msg"
        try:
            if path.stat().st_size <= _LONGEST:
                return path.read_text(encoding="utf-8", errors="replace").rstrip()
        except OSError:
            continue
    return None


def _prefixes(package: str) -> Iterator[Path]:
    """Return the folders that a package may be installed in: sourced ones, then that of its code.

    Wheels need not be sourced, and are then not in the ament index.
    """
    yield from map(Path, filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)))
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin:
        yield from Path(spec.origin).parents
