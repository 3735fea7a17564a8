"""Options of a node as ROS parameters: declared, described, checked and read."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.parameter import Parameter as RosParameter

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.nodes.ros.rclpy_private import parameter_overrides
from deeplab_miou.options.declaration import make, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rclpy.node import Node

    from deeplab_miou.options.declaration import Option

T = TypeVar("T")

_LIST_TYPES = {
    bool: RosParameter.Type.BOOL_ARRAY,
    int: RosParameter.Type.INTEGER_ARRAY,
    float: RosParameter.Type.DOUBLE_ARRAY,
    str: RosParameter.Type.STRING_ARRAY,
}
# Overrides that belong to rclpy itself; any other that is not declared is a typing mistake.
_FOREIGN = ("use_sim_time", "qos_overrides.", "start_type_description_service")


def descriptor(option: Option, *, with_range: bool, immutable: bool) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` shows."""
    constraints = []
    if option.choices is not None:
        constraints.append("one of " + ", ".join(str(choice) for choice in option.choices))
    if (option.minimum is None) != (option.maximum is None):
        constraints.append(option.range_text)
    if not option.at_runtime and not immutable:
        constraints.append("can be changed only while the node is unconfigured")
    shown = ParameterDescriptor(
        description=option.description,
        additional_constraints="; ".join(constraints),
        read_only=immutable,
        # rclpy's own type check would raise in the constructor; `check` says it in one line.
        dynamic_typing=True,
    )
    # Half-open ranges are left to `check`: rclpy would show their open end as -2^63.
    if with_range and option.minimum is not None and option.maximum is not None:
        if type(option.default) is int:
            limits = IntegerRange(from_value=int(option.minimum), to_value=int(option.maximum))
            shown.integer_range = [limits]
        elif type(option.default) is float:
            limits = FloatingPointRange(
                from_value=float(option.minimum), to_value=float(option.maximum)
            )
            shown.floating_point_range = [limits]
    return shown


def declare(
    node: Node,
    declared: type,
    *,
    elsewhere: Collection[str] = (),
    is_fixed: Callable[[], bool] | None = None,
    on_change: Callable[[dict[str, object]], None] | None = None,
) -> None:
    """Declare the options of a dataclass; nothing that a user gave makes this raise.

    A bad override is kept as given, so that `read` can report it and ``ros2 param set`` can fix
    it. Later changes are checked before they are stored. An override that nobody knows is
    warned of.

    Args:
        node: the node that owns the parameters.
        declared: the dataclass.
        elsewhere: names that other nodes know: the section ``/**`` of a parameter file gives them
            to every node.
        is_fixed: tells whether read-only parameters can no longer change; None for a node that
            reads them once and for all.
        on_change: called with accepted changes of parameters that are not read-only, before they
            are stored; a `DeeplabMiouError` refuses them.
    """
    table = {option.name: option for option in options_of(declared)}
    for option in table.values():
        _declare_one(node, option, immutable=not option.at_runtime and is_fixed is None)
    _warn_of_unknown_overrides(node, table, elsewhere)

    def check_changes(changes: list[RosParameter]) -> SetParametersResult:
        known = [(table[change.name], change.value) for change in changes if change.name in table]
        try:
            values = {option.name: option.check(value) for option, value in known}
            for option, _ in known:
                if not option.at_runtime and (is_fixed is None or is_fixed()):
                    reason = (
                        f"parameter {option.name} is read when the node is configured: clean "
                        "the node up, set it, and configure again"
                    )
                    return SetParametersResult(successful=False, reason=reason)
            changed = {option.name: values[option.name] for option, _ in known if option.at_runtime}
            if changed and on_change is not None:
                on_change(changed)
        except DeeplabMiouError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check_changes)


def read(node: Node, declared: type[T]) -> T:
    """Return the values of a node's options.

    Raises:
        ConfigurationError: one or more values cannot be used; the message names each.
    """
    names = [option.name for option in options_of(declared)]
    return make(declared, {name: node.get_parameter(name).value for name in names})


def _declare_one(node: Node, option: Option, *, immutable: bool) -> None:
    try:
        node.declare_parameter(
            option.name, option.default, descriptor(option, with_range=True, immutable=immutable)
        )
    except InvalidParameterValueException:
        node.declare_parameter(
            option.name, option.default, descriptor(option, with_range=False, immutable=immutable)
        )
    if option.default == [] and node.get_parameter(option.name).value in ([], b""):
        # rclpy takes an empty list for a list of bytes.
        node.set_parameters([RosParameter(option.name, _LIST_TYPES[option.kind], [])])


def _warn_of_unknown_overrides(
    node: Node, table: dict[str, Option], elsewhere: Collection[str]
) -> None:
    for name in parameter_overrides(node):
        known = name in table or name in elsewhere or node.has_parameter(name)
        if not known and not name.startswith(_FOREIGN):
            close = get_close_matches(name, [*table, *elsewhere], n=1)
            node.get_logger().warning(
                f"this node has no parameter {name}, so it has no effect; "
                + (f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(table))}")
            )
