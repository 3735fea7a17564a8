"""Write docs/parameters.md, docs/messages.md and the parameter files of config/ from the code.

    python docs/generate.py

`test/test_docs.py` compares the files with what this would write.
"""

# ruff: noqa: INP001  (a script)
from __future__ import annotations

import json
import re
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.nodes import NODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeplab_miou.options.declaration import Option

ROOT = Path(__file__).resolve().parent.parent
MESSAGES = ROOT / "deeplab_miou_msgs" / "msg"

_PARAMETERS = """\
# Parameters

<!-- Written by docs/generate.py from deeplab_miou/options: change that, then run it. -->

To set parameters, and to look one up:

```sh
ros2 launch deeplab_miou evaluate.launch.py params_file:=my.yaml
ros2 run deeplab_miou deeplab_evaluator --ros-args -p labels:=cityscapes -p device:=cpu
ros2 param describe /deeplab_evaluator sync_tolerance
ros2 run deeplab_miou deeplab_evaluator --help
```

The launch files have arguments of the same name for the most common ones
(`ros2 launch deeplab_miou evaluate.launch.py --show-args`). A parameter file has one section per
node; with `cameras:=front,rear` the evaluators are `deeplab_evaluator_front` and `_rear`:

```yaml
/**/deeplab_evaluator:
  ros__parameters:
    sync_tolerance: 0.02
    hold_frames: 1000
/**/miou_publisher:
  ros__parameters:
    window_seconds: 30.0
    window_frames: 0
```

[config/evaluator.yaml](../config/evaluator.yaml),
[config/publisher.yaml](../config/publisher.yaml),
[config/replayer.yaml](../config/replayer.yaml),
[config/watch.yaml](../config/watch.yaml) and
[config/comparer.yaml](../config/comparer.yaml) are templates to start from.

The column *Set* says when a parameter can be set:

- **live**: at any time, with `ros2 param set`.
- before: only before the node is configured, that is, at start-up or after `ros2 lifecycle set NODE
  deactivate` and `cleanup`; then `configure` and `activate` the node again. Its counts start from
  zero. `bag_replayer` has no lifecycle and reads all parameters at start-up.

A value of the wrong type or out of range is refused with an error; an unknown name causes a
warning. `use_sim_time` and `qos_overrides.…` are rclpy's own.
"""

_ABOUT = {
    "deeplab_evaluator": "Pairs images and labels, runs the network, counts. Lifecycle node.",
    "miou_publisher": "Adds up counts, publishes scores, writes the report. Lifecycle node.",
    "bag_replayer": "Plays a bag, as recorded or paced so that nothing is lost.",
    "miou_foxglove": "Serves the graph's topics to Foxglove. Lifecycle node.",
    "miou_watch": "Shows the scores live on a page in the browser. Lifecycle node.",
    "miou_comparer": "Compares two evaluators on the same frames. Lifecycle node.",
}

_FILE = """\
# Parameters of {node} with {values}.
# Copy it, change it, and pass it with `--ros-args --params-file FILE`.
# Written by docs/generate.py from deeplab_miou/options: change that, then run it.
/**:
  ros__parameters:"""

# What a file holds other than defaults, and what that is.
_FILE_VALUES: dict[str, tuple[str, dict[str, object]]] = {
    "bag_replayer": (
        "the values that replay.launch.py gives it",
        # Loading a large network takes its time.
        {"paced": True, "startup_timeout": 120.0},
    )
}

_MESSAGES = """\
# Messages

<!-- Written by docs/generate.py from deeplab_miou_msgs/msg/*.msg: change those, then run it. -->

Package `deeplab_miou_msgs`. `ros2 interface show deeplab_miou_msgs/msg/MeanIoU` prints the same.
[topics.md](topics.md) says which topic carries which message.
"""


def parameters_page() -> str:
    """Return the page on parameters."""
    parts = [_PARAMETERS]
    for node, declared in NODES.items():
        rows = (
            (f"`{p.name}`", _default(p), _allowed(p), _when(p), p.description)
            for p in options_of(declared)
        )
        heads = ("Parameter", "Default", "Allowed", "Set", "Meaning")
        parts.append(f"## {node}\n\n{_ABOUT[node]}\n\n{_table(heads, rows)}")
    return "\n".join(parts)


def messages_page() -> str:
    """Return the page on messages."""
    parts = [_MESSAGES]
    for path in sorted(MESSAGES.glob("*.msg")):
        about, fields = parse_message(path.read_text(encoding="utf-8"))
        rows = ((f"`{name}`", f"`{kind}`", text) for kind, name, text in fields)
        parts.append(f"## {path.stem}\n\n{about}\n\n{_table(('Field', 'Type', 'Meaning'), rows)}")
    return "\n".join(parts)


def parse_message(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Return what a message file says of itself, and (type, name, comment) of each field.

    A comment of whole lines before a field is about the fields up to the next blank line and goes
    to the first of them; an indented one continues that of the field before.
    """
    about: list[str] = []
    pending: list[str] = []
    fields: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        code, _, comment = (part.strip() for part in line.partition("#"))
        if code:
            kind, name = code.split()
            fields.append((kind, name, _sentence([*pending, comment])))
            pending = []
        elif comment and line[0].isspace() and fields:
            kind, name, before = fields[-1]
            fields[-1] = (kind, name, f"{before} {comment}")
        elif comment:
            pending.append(comment)
        elif not fields:
            about += pending
            pending = []
    return " ".join(about), fields


def parameter_file(node: str) -> str:
    """Return a file of a node's parameters, with a comment for each."""
    lines = [_FILE.format(node=node, values=_FILE_VALUES.get(node, ("their defaults", {}))[0])]
    others = _FILE_VALUES.get(node, ("", {}))[1]
    group = ""
    for each in options_of(NODES[node]):
        if each.group != group:
            group = each.group
            lines.append(f"\n    ## {group}")
        lines += [f"    # {line}" for line in textwrap.wrap(each.description, 92)]
        value = others.get(each.name, each.default)
        # An empty list has no type in a parameter file.
        comment, value = ("# ", list(each.example)) if value == [] else ("", value)
        lines.append(f"    {comment}{each.name}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _sentence(parts: Iterable[str]) -> str:
    *before, own = parts
    if before:
        own = own[:1].upper() + own[1:]
    return " ".join([*before, own]).strip()


def _default(parameter: Option) -> str:
    value = parameter.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if value != "" else "empty"


def _allowed(parameter: Option) -> str:
    if parameter.choices is not None:
        return ", ".join(f"`{choice}`" for choice in parameter.choices)
    if isinstance(parameter.default, bool):
        return "`true`, `false`"
    if parameter.minimum is None:
        return ""
    if parameter.maximum is None:
        return f"{parameter.minimum:g} or more"
    return f"{parameter.minimum:.9g} to {parameter.maximum:.9g}"


def _when(parameter: Option) -> str:
    return "**live**" if parameter.at_runtime else "before"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


PAGES = {
    "docs/parameters.md": parameters_page,
    "docs/messages.md": messages_page,
    "config/evaluator.yaml": partial(parameter_file, "deeplab_evaluator"),
    "config/publisher.yaml": partial(parameter_file, "miou_publisher"),
    "config/replayer.yaml": partial(parameter_file, "bag_replayer"),
    "config/foxglove.yaml": partial(parameter_file, "miou_foxglove"),
    "config/watch.yaml": partial(parameter_file, "miou_watch"),
    "config/comparer.yaml": partial(parameter_file, "miou_comparer"),
}


def main() -> None:
    """Write pages and files."""
    for name, page in PAGES.items():
        (ROOT / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
