"""Which bags the arguments on a command line mean, and how each is named."""

from __future__ import annotations

import glob
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from deeplab_miou.bags.folder import is_bag, natural_order
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.recording.found import is_recording

# Longer names are not made longer by the folders above.
_LONGEST_NAME = 40
# A file system takes 255, and a number may follow.
_MOST_BYTES = 240


class NamedBag(NamedTuple):
    """A bag, and the name of its folder among the results."""

    name: str
    path: str


def find_bags(words: list[str]) -> list[NamedBag]:
    """Return the bags that words mean, each once, in the order given.

    A word is a bag, a folder with bags in it at any depth, or a pattern of these (``*``, ``?``,
    ``[...]``, ``**``). Storage files next to folders of bags are a bag each; alone in a folder they
    are the files of one bag. A file of a folder that is listed as a bag is not a separate bag, and
    recordings of scores are left out where bags are searched for. A bag that does not exist, as
    where a link leads to a disk that is not mounted, is listed too: its outcome is reported like
    any other.

    Raises:
        ConfigurationError: a pattern matches no bag, or a folder cannot be read.
    """
    found: dict[str, str] = {}
    for word in words:
        for path in _meant(word):
            found.setdefault(os.path.realpath(path), path)
    paths = [
        path
        for real, path in found.items()
        if not os.path.isfile(real)  # noqa: PTH113
        or str(Path(real).parent) not in found
    ]
    return [NamedBag(name, path) for name, path in zip(_names(paths), paths, strict=True)]


def is_single(words: list[str]) -> bool:
    """Return whether the words mean one bag, and do not say many."""
    (first, *others) = words
    return not others and not _is_pattern(first) and not _bags_below(first)


def _meant(word: str) -> list[str]:
    if not _is_pattern(word):
        return _bags_below(word) or [word]
    paths = sorted(glob.glob(_pattern(word), recursive=True), key=_order)  # noqa: PTH207
    bags = [bag for path in paths for bag in _bags_at(path)]
    if not bags:
        raise ConfigurationError(f"no bag matches {word!r}")
    return bags


def _is_pattern(word: str) -> bool:
    return glob.has_magic(word) and not os.path.lexists(word)


def _pattern(word: str) -> str:
    """Return a pattern in which folders that are there as they are called stand for themselves."""
    expanded = os.path.expanduser(word)  # noqa: PTH111  (keeps what it cannot expand)
    folders = [expanded[:k] for k, letter in enumerate(expanded) if letter == os.sep and k]
    there = next((each for each in reversed(folders) if os.path.lexists(each)), "")
    return glob.escape(there) + expanded[len(there) :]


def _is_bag(path: str) -> bool:
    try:
        return is_bag(Path(path))
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(folder: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"folder {folder!r} cannot be read: {error.strerror or error}")


def _bags_at(path: str, above: frozenset[str] = frozenset()) -> list[str]:
    """Return the path if it is a drive or a link to nothing, or else the bags below it."""
    # Links may lead in a circle.
    if os.path.realpath(path) in above:
        return []
    if os.path.islink(path) and not os.path.exists(path):  # noqa: PTH110, PTH114  (never raise)
        return [path]
    return _bags_below(path, above) or _drive(path)


def _bags_below(path: str, above: frozenset[str] = frozenset()) -> list[str]:
    """Return the bags in a folder that is none itself; nothing for all else."""
    if not os.path.isdir(path) or os.path.lexists(Path(path, "metadata.yaml")):  # noqa: PTH112  (never raises)
        return []
    above |= {os.path.realpath(path)}
    found = {child: _bags_at(str(child), above) for child in _children(path)}
    # Files alone are those of one bag.
    if not any(bags for child, bags in found.items() if child.is_dir()):
        return []
    return [bag for bags in found.values() for bag in bags]


def _children(folder: str) -> list[Path]:
    """Return what may be or hold a bag, in natural order: folders, storage files and links."""
    try:
        children = [each for each in Path(folder).iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise _unreadable(folder, error) from None
    found = (each for each in children if each.is_dir() or each.is_symlink() or is_bag(each))
    return sorted(found, key=natural_order)


def _drive(path: str) -> list[str]:
    """Return a bag, unless it is a recording of scores."""
    return [path] if _is_bag(path) and not is_recording(Path(path)) else []


def _order(path: str) -> list[list[tuple[int, str]]]:
    return [natural_order(Path(part)) for part in Path(path).parts]


def _names(paths: list[str]) -> list[str]:
    """Return a name for each: that of its folder or file, with as many of those above as it takes.

    Names that differ in case only are the same on some disks.
    """
    parts = [_parts(path) for path in paths]
    depths = [1] * len(paths)
    while True:
        names = ["_".join(each[-depth:]) for each, depth in zip(parts, depths, strict=True)]
        often = Counter(name.casefold() for name in names)
        short = [
            k
            for k, name in enumerate(names)
            if often[name.casefold()] > 1
            and depths[k] < len(parts[k])
            and len(name) < _LONGEST_NAME
        ]
        if not short:
            return _numbered(names)
        for k in short:
            depths[k] += 1


def _parts(path: str) -> list[str]:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  (a link keeps its own name)
    if absolute.name == "metadata.yaml":
        absolute = absolute.parent
    name = absolute.stem if os.path.isfile(absolute) else absolute.name  # noqa: PTH113  (likewise)
    return [*absolute.parts[1:-1], name] if name else ["bag"]


def _numbered(names: list[str]) -> list[str]:
    """Cut names to what a file system accepts, and make those distinct that are still equal."""
    taken: set[str] = set()
    result = []
    for given in names:
        encoded = os.fsencode(given)
        fits = len(encoded) <= _MOST_BYTES
        name = given if fits else encoded[:_MOST_BYTES].decode(errors="ignore")
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique.casefold())
        result.append(unique)
    return result
