"""Options as typed dataclass fields, from which everything users see of them is generated.

    @dataclass(frozen=True)
    class PairingOptions:
        '''How images and labels are paired.'''

        sync_tolerance: float = option(0.0, "greatest difference of two stamps, s", minimum=0.0)

A field's name, annotation and default are the option's name, type (or choices, if it is a
`Literal`) and default; `options_of` reads them back.
"""

from __future__ import annotations

import dataclasses
import math
import types
from dataclasses import dataclass
from inspect import get_annotations
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_KEY = "option"
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


class OptionError(ConfigurationError):
    """A value cannot be used.

    Attributes:
        expected: what would be right.
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(f"parameter {name} is {value!r}, expected {expected}")
        self.expected = expected


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: in Python and ROS; a command line has ``-`` for ``_``.
        default: value unless set; a list if the option is one, empty for None.
        text: what it is, one line without a full stop.
        kind: type of the value, of a list that of each element.
        is_list: whether it is a list.
        length: number of elements of a list that is not empty; None for any.
        minimum: smallest value (of a list: of each element); None for no limit.
        maximum: greatest value (of a list: of each element); None for no limit.
        choices: the only values allowed; None for any.
        at_runtime: whether a node adopts a change at once; else it reads it when configured.
        unset: what applies when the default, which is empty or zero, is left.
        example: a value to show where the default is empty.
        form: how a command line's help writes the value; a list's separator is in it, ``x`` or a
            comma.
        group: what the options of its class are about.
    """

    name: str
    default: object
    text: str
    kind: type
    is_list: bool = False
    length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[object, ...] | None = None
    at_runtime: bool = False
    unset: str = ""
    example: tuple[object, ...] = ()
    form: str = ""
    group: str = ""

    @property
    def description(self) -> str:
        """The text, and what an empty or zero default stands for."""
        if not self.unset:
            return self.text
        return f"{self.text} ({'0' if self.default == 0 else 'empty'}: {self.unset})"

    def check(self, value: object) -> object:
        """Return a value as this option's plain type, a list if it is one.

        Whole numbers are taken where a float is asked for.

        Raises:
            OptionError: it is of another type, out of range or no choice.
        """
        if not self.is_list:
            return self._check_one(value)
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise OptionError(self.name, value, f"a list, each {_TYPE_NAMES[self.kind]}")
        elements = [self._check_one(element) for element in value]
        if self.length is not None and len(elements) not in (0, self.length):
            raise OptionError(self.name, value, f"{self.length} numbers or none")
        return elements

    def _check_one(self, value: object) -> object:
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise OptionError(self.name, value, _TYPE_NAMES[self.kind])
        if self.choices is not None and value not in self.choices:
            raise OptionError(self.name, value, "one of " + ", ".join(map(repr, self.choices)))
        if isinstance(value, (int, float)) and not self._is_within(value):
            raise OptionError(self.name, value, self.range_text or "a number")
        return value

    def _is_within(self, value: float) -> bool:
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and math.isfinite(value)
        )

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.choices is not None:
            return "one of " + ", ".join(map(str, self.choices))
        kind = (
            f"{self.form}, each {_TYPE_NAMES[self.kind]}"
            if self.is_list
            else (_TYPE_NAMES[self.kind])
        )
        return ", ".join(filter(None, [kind, self.range_text]))

    @property
    def range_text(self) -> str:
        """The limits in words, empty if there are none."""
        limits = []
        if self.minimum is not None:
            limits.append(f"at least {self.minimum:g}")
        if self.maximum is not None:
            limits.append(f"at most {self.maximum:g}")
        return " and ".join(limits)


def option(
    default: T,
    text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    at_runtime: bool = False,
    unset: str = "",
    example: tuple[object, ...] = (),
    form: str = "",
) -> T:
    """Declare a field of a dataclass as an option; the arguments are as in `Option`."""
    facts = {
        "text": text,
        "minimum": minimum,
        "maximum": maximum,
        "at_runtime": at_runtime,
        "unset": unset,
        "example": example,
        "form": form,
    }
    # To mypy a field is its default.
    made: Any = dataclasses.field(default=default, metadata={_KEY: facts})
    return made  # type: ignore[no-any-return]


def options_of(declared: type) -> tuple[Option, ...]:
    """Return the options that a dataclass declares or inherits, in the order of its fields."""
    hints = get_type_hints(declared)
    found = []
    for field in dataclasses.fields(declared):
        if _KEY in field.metadata:
            default = field.default
            if default is None or isinstance(default, tuple):
                default = list(default or ())
            owner = next(c for c in declared.__mro__ if field.name in get_annotations(c))
            found.append(
                Option(
                    name=field.name,
                    default=default,
                    group=(owner.__doc__ or "").partition("\n")[0],
                    **_facts_of(hints[field.name]),
                    **field.metadata[_KEY],
                )
            )
    return tuple(found)


def make(declared: type[T], values: Mapping[str, object], **others: object) -> T:
    """Return a dataclass of options.

    Args:
        declared: the dataclass.
        values: plain values of its options by name; an option that is not there has its default.
        others: its fields that are not options.

    Raises:
        ConfigurationError: one or more values cannot be used; the message names each.
    """
    errors = []
    for each in options_of(declared):
        if each.name in values:
            try:
                others[each.name] = typed(declared, each, each.check(values[each.name]))
            except OptionError as error:
                errors.append(str(error))
    if errors:
        raise ConfigurationError("; ".join(errors))
    build: Any = declared
    made: T = build(**others)
    return made


def changed(settings: T, values: Mapping[str, object]) -> T:
    """Return a dataclass of options with some checked plain values in place of what it has."""
    declared = type(settings)
    changes = {
        each.name: typed(declared, each, values[each.name])
        for each in options_of(declared)
        if each.name in values
    }
    old: Any = settings
    made: T = dataclasses.replace(old, **changes)
    return made


def typed(declared: type, each: Option, value: object) -> object:
    """Return a plain value as its field's type: a list as a tuple, or None if it is empty."""
    if not isinstance(value, list):
        return value
    is_optional = type(None) in get_args(get_type_hints(declared)[each.name])
    return None if is_optional and not value else tuple(value)


def _facts_of(hint: Any) -> dict[str, Any]:  # noqa: ANN401  (a type, but also an alias of one)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (each for each in arguments if each is not type(None))
        return _facts_of(hint)
    if origin is Literal:
        return {"kind": type(arguments[0]), "choices": arguments}
    if origin is tuple:
        length = None if arguments[-1] is Ellipsis else len(arguments)
        return {"kind": arguments[0], "is_list": True, "length": length}
    return {"kind": hint}
