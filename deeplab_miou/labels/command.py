"""``deeplab-miou labels``: lists label maps, shows one, or fills in other ids."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.labels.named_ids import parse_ids

if TYPE_CHECKING:
    import argparse

    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.labels.named_ids import IdNames

_EPILOG = """examples:
  deeplab-miou labels
  deeplab-miou labels carla
  deeplab-miou labels my_robot.yaml --ids semantic_labels.json > today.yaml
"""
_MAX_IDS_BYTES = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "map", nargs="?", default="", metavar="MAP", help="name or YAML file (default: list all)"
    )
    parser.add_argument(
        "--ids",
        type=Path,
        metavar="FILE",
        help="print MAP with the ids in this JSON file, such as Isaac Sim's semantic_labels",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, a map, or a map with other ids as YAML.

    Raises:
        ConfigurationError: the map or the ids cannot be read, or do not fit each other.
    """
    from deeplab_miou.labels.label_map import available_label_maps, load_label_map  # noqa: PLC0415

    if arguments.ids is not None and not arguments.map:
        raise ConfigurationError("--ids needs MAP: name the label map whose classes the ids have")
    if not arguments.map:
        for name in available_label_maps():
            label_map = load_label_map(name)
            sys.stdout.write(
                f"{name:21} {label_map.num_classes:3} classes  {label_map.description}\n"
            )
        return 0
    label_map = load_label_map(arguments.map)
    if arguments.ids is None:
        _show(label_map)
        return 0
    renewed, missing = with_ids_of(label_map, arguments.ids)
    sys.stdout.write(_yaml(renewed))
    if missing:
        sys.stderr.write(f"no id is given for: {', '.join(missing)}\n")
    return 0


def read_ids(path: Path) -> IdNames:
    """Read which class names each raw id has, see `parse_ids`.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_IDS_BYTES)
    except OSError as error:
        raise ConfigurationError(f"ids {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"ids {path} are not text: {error}") from None
    try:
        return parse_ids(text)[0]
    except ValueError as error:
        raise ConfigurationError(f"ids {path} {error}") from None


def with_ids_of(label_map: LabelMap, path: Path) -> tuple[LabelMap, list[str]]:
    """Return a label map whose classes have the ids that a file gives their names.

    Returns:
        The map, and the names of the classes that have no id.

    Raises:
        ConfigurationError: the file cannot be read, or no id is named like a class.
    """
    from deeplab_miou.labels.named_ids import with_ids  # noqa: PLC0415

    try:
        renewed = with_ids(label_map, read_ids(path))
    except ValueError as error:
        raise ConfigurationError(f"ids {path} {error}") from None
    classes = [
        replace(entry, color=(red, green, blue), colors=((red, green, blue),))
        for entry, (red, green, blue) in zip(
            renewed.classes, label_map.palette.tolist(), strict=True
        )
    ]
    description = f"{label_map.description or label_map.name}, ids of {path.name}"
    renewed = replace(renewed, classes=tuple(classes), description=description)
    return renewed, [entry.name for entry in classes if not entry.ids]


def _show(label_map: LabelMap) -> None:
    out = sys.stdout.write
    out(f"{label_map.name}: {label_map.description}\n")
    for key, value in label_map.raw_ids.to_dict().items():
        out(f"{key}: {value}\n")
    out(f"values not listed: {label_map.unmapped}\n\n")
    out(f"{'id':>3}  {'class':24} {'colour':15} raw ids\n")
    has_ids = any(entry.ids for entry in label_map.classes)
    for k, entry in enumerate(label_map.classes):
        ids = entry.ids if has_ids else (k,)
        color = ", ".join(map(str, label_map.palette[k].tolist()))
        out(f"{k:3}  {entry.name:24} {color:15} {', '.join(map(str, ids))}\n")
    for entry in label_map.ignored:
        color = ", ".join(map(str, entry.color or ()))
        out(f"  -  {entry.name:24} {color:15} {', '.join(map(str, entry.ids))}\n")


def _yaml(label_map: LabelMap) -> str:
    """Return the map as a file, a class to a line."""
    content = label_map.to_dict()
    lines = [
        f"{key}: {json.dumps(content[key], ensure_ascii=False)}"
        for key in content
        if key not in ("classes", "ignore")
    ]
    for group in ("classes", "ignore"):
        entries = content[group]
        assert isinstance(entries, list)  # noqa: S101
        if entries:
            lines.append(f"{group}:")
            lines += [f"  - {json.dumps(each, ensure_ascii=False)}" for each in entries]
    return "\n".join(lines) + "\n"
