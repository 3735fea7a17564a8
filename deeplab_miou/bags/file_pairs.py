"""Finds image and label files that belong together, by patterns of their paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg")

_WILDCARDS = re.compile(r"(\*\*/|\*\*|\*|\?)")
_MEANING = {"**/": r"((?:.*/)?)", "**": r"(.*)", "*": r"([^/]*)", "?": r"([^/])"}

Key = tuple[str, ...]


def find_files(folder: Path, pattern: str) -> dict[Key, Path]:
    """Return the image files below a folder by what a pattern's wildcards stand for.

    Args:
        folder: looked through with all of its folders; what is hidden is not looked at, which
            includes the AppleDouble files that a Mac leaves.
        pattern: of the path below the folder: ``*`` and ``?`` stand for characters but ``/``,
            ``**`` for any, all else for itself. Empty: any file, by its path without the ending.

    Raises:
        ConfigurationError: there is no such folder or file, or two of the same key.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"folder {str(folder)!r} does not exist")
    expression = _expression(pattern)
    found: dict[Key, Path] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        match = expression.fullmatch(below.as_posix())
        if match is None or path.suffix.lower() not in ENDINGS or _is_hidden(below):
            continue
        if not path.is_file():
            continue
        key = match.groups()
        if key in found:
            raise ConfigurationError(
                f"files {str(found[key])!r} and {str(path)!r} match pattern {pattern or '**'!r} "
                "with the same text: give a pattern that matches only one of them"
            )
        found[key] = path
    if not found:
        sought = f"matches {pattern!r} and ends" if pattern else "ends"
        raise ConfigurationError(
            f"folder {str(folder)!r} contains no file that {sought} in {', '.join(ENDINGS)}"
        )
    return found


def in_natural_order(keys: set[Key]) -> list[Key]:
    """Sort keys as people count: 2 before 10."""
    return sorted(keys, key=_natural)


def _natural(key: Key) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", "/".join(key))
    return [(1, int(each[-4000:]), each) if k % 2 else (0, 0, each) for k, each in enumerate(parts)]


def _is_hidden(below: Path) -> bool:
    return any(part.startswith(".") for part in below.parts)


def _expression(pattern: str) -> re.Pattern[str]:
    if not pattern:
        return re.compile(r"(.*)\.[^./]*", re.DOTALL)
    parts = _WILDCARDS.split(pattern)
    return re.compile("".join(_MEANING.get(part, re.escape(part)) for part in parts), re.DOTALL)
