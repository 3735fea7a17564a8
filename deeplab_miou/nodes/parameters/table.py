"""Parameters as a table: declared, described, checked and read in one place for all nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.parameter import Parameter as RosParameter

from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.nodes.ros.rclpy_private import parameter_overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rclpy.node import Node

_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
_LIST_TYPES = {
    bool: RosParameter.Type.BOOL_ARRAY,
    int: RosParameter.Type.INTEGER_ARRAY,
    float: RosParameter.Type.DOUBLE_ARRAY,
    str: RosParameter.Type.STRING_ARRAY,
}
# Overrides that belong to rclpy itself; any other that is not declared is a typing mistake.
_FOREIGN = ("use_sim_time", "qos_overrides.", "start_type_description_service")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    Attributes:
        name: name within the node.
        default: value unless overridden; its type (bool, int, float, str or a list of one of
            these) is the parameter's. Whole numbers are taken where a float is asked for.
        description: one line, shown by ``ros2 param describe``.
        minimum: smallest value (of a list: of each element); None for no limit.
        maximum: greatest value (of a list: of each element); None for no limit.
        choices: the only values allowed; None for any.
        read_only: True if it is read when the node is configured, so that it can be changed only
            before; False if a change takes effect at once.
        element: type of the elements of a list whose default is empty.
    """

    name: str
    default: object
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[object, ...] | None = None
    read_only: bool = True
    element: type = str

    def check(self, value: object) -> object:
        """Return a value as this parameter's type.

        Raises:
            ConfigurationError: the value is of another type, out of range or no choice.
        """
        if isinstance(self.default, list):
            kind = type(self.default[0]) if self.default else self.element
            if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
                raise self._error(value, f"a list, each {_TYPE_NAMES[kind]}")
            return [self._check_one(element, kind) for element in value]
        return self._check_one(value, type(self.default))

    def _check_one(self, value: object, kind: type) -> object:
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self._error(value, _TYPE_NAMES[kind])
        if self.choices is not None and value not in self.choices:
            raise self._error(value, "one of " + ", ".join(repr(choice) for choice in self.choices))
        if (
            (self.minimum is not None and not value >= self.minimum)
            or (self.maximum is not None and not value <= self.maximum)
            or (kind is float and math.isnan(value))
        ):
            raise self._error(value, self._range_text() or "a number")
        return value

    def _range_text(self) -> str:
        limits = []
        if self.minimum is not None:
            limits.append(f"at least {self.minimum:g}")
        if self.maximum is not None:
            limits.append(f"at most {self.maximum:g}")
        return " and ".join(limits)

    def _error(self, value: object, expected: str) -> ConfigurationError:
        return ConfigurationError(f"parameter {self.name} is {value!r}, expected {expected}")

    def descriptor(self, *, with_range: bool, immutable: bool) -> ParameterDescriptor:
        """Return what ``ros2 param describe`` shows."""
        constraints = []
        if self.choices is not None:
            constraints.append("one of " + ", ".join(str(choice) for choice in self.choices))
        if (self.minimum is None) != (self.maximum is None):
            constraints.append(self._range_text())
        if self.read_only and not immutable:
            constraints.append("can be changed only while the node is unconfigured")
        descriptor = ParameterDescriptor(
            description=self.description,
            additional_constraints="; ".join(constraints),
            read_only=immutable,
            # rclpy's own type check would raise in the constructor; `check` says it in one line.
            dynamic_typing=True,
        )
        # Half-open ranges are left to `check`: rclpy would show their open end as -2^63.
        if with_range and self.minimum is not None and self.maximum is not None:
            if type(self.default) is int:
                limits = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))
                descriptor.integer_range = [limits]
            elif type(self.default) is float:
                limits = FloatingPointRange(
                    from_value=float(self.minimum), to_value=float(self.maximum)
                )
                descriptor.floating_point_range = [limits]
        return descriptor


def declare(
    node: Node,
    parameters: Sequence[Parameter],
    *,
    elsewhere: Collection[str] = (),
    is_fixed: Callable[[], bool] | None = None,
    on_change: Callable[[dict[str, object]], None] | None = None,
) -> None:
    """Declare a table of parameters; nothing that a user gave makes this raise.

    A bad override is kept as given, so that `read` can report it and ``ros2 param set`` can mend
    it. Later changes are checked before they are stored. An override that nobody knows is
    warned of.

    Args:
        node: the node that owns the parameters.
        parameters: the table.
        elsewhere: names that other nodes know: the section ``/**`` of a parameter file gives them
            to every node.
        is_fixed: tells whether read-only parameters can no longer change; None for a node that
            reads them once and for all.
        on_change: called with accepted changes of parameters that are not read-only, before they
            are stored; a `DeeplabMiouError` refuses them.
    """
    table = {parameter.name: parameter for parameter in parameters}
    for parameter in parameters:
        _declare_one(node, parameter, immutable=parameter.read_only and is_fixed is None)
    _warn_of_unknown_overrides(node, table, elsewhere)

    def check_changes(changes: list[RosParameter]) -> SetParametersResult:
        known = [(table[change.name], change.value) for change in changes if change.name in table]
        try:
            values = {parameter.name: parameter.check(value) for parameter, value in known}
            for parameter, _ in known:
                if parameter.read_only and (is_fixed is None or is_fixed()):
                    reason = (
                        f"parameter {parameter.name} is read when the node is configured: clean "
                        "the node up, set it, and configure again"
                    )
                    return SetParametersResult(successful=False, reason=reason)
            live = {parameter.name for parameter, _ in known if not parameter.read_only}
            if live and on_change is not None:
                on_change({name: values[name] for name in live})
        except DeeplabMiouError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check_changes)


def read(node: Node, parameters: Sequence[Parameter]) -> dict[str, object]:
    """Return the values of a table of parameters by name, checked, as the defaults' types.

    Raises:
        ConfigurationError: one or more values cannot be used; the message names each.
    """
    values = {}
    errors = []
    for parameter in parameters:
        try:
            values[parameter.name] = parameter.check(node.get_parameter(parameter.name).value)
        except ConfigurationError as error:
            errors.append(str(error))
    if errors:
        raise ConfigurationError("; ".join(errors))
    return values


def _declare_one(node: Node, parameter: Parameter, *, immutable: bool) -> None:
    try:
        node.declare_parameter(
            parameter.name,
            parameter.default,
            parameter.descriptor(with_range=True, immutable=immutable),
        )
    except InvalidParameterValueException:
        node.declare_parameter(
            parameter.name,
            parameter.default,
            parameter.descriptor(with_range=False, immutable=immutable),
        )
    if parameter.default == [] and node.get_parameter(parameter.name).value in ([], b""):
        # rclpy takes an empty list for a list of bytes.
        kind = _LIST_TYPES[parameter.element]
        node.set_parameters([RosParameter(parameter.name, kind, [])])


def _warn_of_unknown_overrides(
    node: Node, table: dict[str, Parameter], elsewhere: Collection[str]
) -> None:
    for name in parameter_overrides(node):
        known = name in table or name in elsewhere or node.has_parameter(name)
        if not known and not name.startswith(_FOREIGN):
            close = get_close_matches(name, [*table, *elsewhere], n=1)
            node.get_logger().warning(
                f"parameter {name} is none of this node's and has no effect; "
                + (f"is {close[0]} meant?" if close else f"it knows {', '.join(sorted(table))}")
            )
