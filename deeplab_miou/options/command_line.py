"""Options on a command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

from deeplab_miou.options.declaration import OptionError, make, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from deeplab_miou.options.declaration import Option

T = TypeVar("T")

_FORMS: dict[type, str] = {int: "N", float: "X", str: "TEXT"}


def add_arguments(
    parser: argparse.ArgumentParser, declared: type, leave_out: Collection[str] = ()
) -> None:
    """Add an argument for each option of a dataclass, in groups.

    Args:
        parser: gets the arguments.
        declared: the dataclass.
        leave_out: names of options that the command declares itself.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for each in options_of(declared):
        if each.name not in leave_out:
            if each.group not in groups:
                title = each.group.rstrip(".")
                groups[each.group] = parser.add_argument_group(title[0].lower() + title[1:])
            _add(groups[each.group], each)


def from_arguments(declared: type[T], arguments: argparse.Namespace, **others: object) -> T:
    """Return a dataclass of options as the command line has them.

    Args:
        declared: the dataclass.
        arguments: the parsed command line.
        others: options that it sets in another way, and fields that are not options.
    """
    given = {
        each.name: getattr(arguments, each.name)
        for each in options_of(declared)
        if hasattr(arguments, each.name)
    }
    return make(declared, given, **others)


def _add(group: argparse._ArgumentGroup, each: Option) -> None:
    flag = "--" + each.name.replace("_", "-")
    default = each.unset or _text(each.default)
    # argparse takes a per cent sign for a placeholder.
    text = f"{each.text} (default: {default})".replace("%", "%%")
    if each.kind is bool:
        action = argparse.BooleanOptionalAction
        group.add_argument(flag, action=action, default=each.default, help=text)
        return
    choices = [str(choice) for choice in each.choices or () if choice or not each.unset]
    group.add_argument(
        flag,
        type=_reader(each),
        default=each.default,
        metavar="{" + ",".join(choices) + "}" if choices else each.form or _FORMS[each.kind],
        help=text,
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reader(each: Option) -> Callable[[str], object]:
    """Return what makes a value of a word of the command line."""

    def read(text: str) -> object:
        separator = "x" if "x" in each.form else ","
        words = text.split(separator) if each.is_list else [text]
        try:
            values = [each.kind(word) for word in words]
            return each.check(values if each.is_list else values[0])
        except (OptionError, ValueError):
            message = f"expected {each.expected}, got {text}"
            raise argparse.ArgumentTypeError(message) from None

    return read
