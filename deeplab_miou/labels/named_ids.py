"""Label maps whose raw ids are published by name while a stream runs, as by a simulator."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.labels.file_format import MAX_RAW_ID, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.labels.label_map import LabelMap

# Each id with its names.
IdNames = tuple[tuple[int, tuple[str, ...]], ...]

_EXPECTED = 'expected {"2": {"class": "floor"}, ...}'
_NO_CLASS = frozenset({"background", "unlabelled", "unlabeled", ""})


def plain(name: str) -> str:
    """Return a name as names are compared: without case, ``_`` and ``-`` like a space."""
    return " ".join(name.replace("_", " ").replace("-", " ").split()).lower()


def parse_ids(text: str) -> tuple[IdNames, Mapping[str, object]]:
    """Return which names each raw id has, and the time stamp that comes with them.

    Args:
        text: JSON such as ``{"2": {"class": "floor"}, "3": "rack", "time_stamp": {...}}``, as Isaac
            Sim's ``semantic_labels``; several names are separated by commas. Text before the first
            brace and after the last is ignored.

    Raises:
        ValueError: it is something else.
    """
    try:
        content = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        raise ValueError(f"are not a JSON object, {_EXPECTED}") from None
    ids = {}
    for key, value in content.items():
        if not (key.isascii() and key.isdecimal()):
            continue  # the time
        if len(key) > len(str(MAX_RAW_ID)) or int(key) > MAX_RAW_ID:
            raise ValueError(f"hold id {key[:20]}, expected 0 to {MAX_RAW_ID}")
        name = value.get("class", "") if isinstance(value, dict) else value
        ids[int(key)] = tuple(plain(part) for part in str(name).split(","))
    if not ids:
        raise ValueError(f"hold no id, {_EXPECTED}")
    stamp = content.get("time_stamp")
    return tuple(sorted(ids.items())), stamp if isinstance(stamp, dict) else {}


def class_names(label_map: LabelMap) -> dict[str, int]:
    """Return the train id of each name that a class may have, in the form of `plain`.

    Raises:
        ConfigurationError: two classes cannot be told apart.
    """
    index: dict[str, int] = {}
    for train_id, entry in enumerate(label_map.classes):
        for name in (entry.name, *entry.aliases):
            first = index.setdefault(plain(name), train_id)
            if first != train_id:
                raise ConfigurationError(
                    f"label map {label_map.name}: {name!r} of class {entry.name!r} is also a name "
                    f"of class {label_map.class_names[first]!r} (ignoring case, spaces, _ and -): "
                    "rename one, because classes are found by name"
                )
    return index


def with_ids(label_map: LabelMap, names: IdNames) -> LabelMap:
    """Return a label map whose classes have the raw ids that carry their names.

    Args:
        label_map: the classes; their order stays, their own ids count no more.
        names: names of each id as of `plain`; the first that is a class counts. Ids without a class
            are known and ignored.

    Raises:
        ValueError: no id is named like a class.
        ConfigurationError: see `class_names`.
    """
    index = class_names(label_map)
    found: list[list[int]] = [[] for _ in label_map.classes]
    ignored = []
    for raw_id, given in names:
        known = [index[name] for name in given if name in index]
        if known:
            found[known[0]].append(raw_id)
        else:
            ignored.append(Entry(", ".join(given), None, (), (raw_id,)))
    if not any(found):
        every = ", ".join(sorted({name for _, given in names for name in given}))
        raise ValueError(
            f"name no class of label map {label_map.name}: they name {every[:500] or 'nothing'}; "
            f"it has {', '.join(label_map.class_names)}"
        )
    classes = tuple(
        replace(entry, ids=tuple(ids)) for entry, ids in zip(label_map.classes, found, strict=True)
    )
    kept = tuple(replace(entry, ids=()) for entry in label_map.ignored if entry.colors)
    return replace(label_map, classes=classes, ignored=(*ignored, *kept))


def without_class(label_map: LabelMap, names: IdNames) -> list[str]:
    """Return the names that are those of no class and of nothing that the map ignores, sorted."""
    known = _NO_CLASS.union(
        class_names(label_map),
        *({plain(name) for name in (entry.name, *entry.aliases)} for entry in label_map.ignored),
    )
    return sorted({", ".join(given) for _, given in names if given and known.isdisjoint(given)})
