"""The command line of a node: `--help` for what are parameters, and a word on what is none."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from deeplab_miou.options.declaration import options_of

if TYPE_CHECKING:
    from deeplab_miou.options.declaration import Option

_HOW = "set parameters as `--ros-args -p NAME:=VALUE` or `--ros-args --params-file FILE`"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(f"{message}; {_HOW}")


def node_parser(
    name: str, description: str, declared: type, epilog: str = ""
) -> argparse.ArgumentParser:
    """Return the parser for a node's command line without ROS arguments.

    Args:
        name: of the program.
        description: what it does.
        declared: the dataclass of its options.
        epilog: what follows the list of parameters in its help.
    """
    options = options_of(declared)
    width = max(len(option.name) for option in options)
    lines = [
        f"  {option.name:{width}}  {option.text} (default: {_default(option)})"
        for option in options
    ]
    return _Parser(
        prog=name,
        usage=f"{name} [-h] [--ros-args -p NAME:=VALUE ...]",
        description=description,
        epilog="\n".join(
            [
                "parameters, each set as `--ros-args -p NAME:=VALUE`:",
                *lines,
                *(["", epilog] if epilog else []),
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _default(option: Option) -> str:
    """Return what applies when a parameter is not set, as a reader of the help understands it."""
    value = option.default
    if option.unset or value == "":
        return option.unset or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
