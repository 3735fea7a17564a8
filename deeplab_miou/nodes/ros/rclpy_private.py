"""Everything we use of rclpy beyond its public API; check this file for each new distribution.

| name | humble (3.3) | jazzy (7.1) | kilted (9.1) | lyrical (10.0) | rolling (11.0) | where it is not so |
|---|---|---|---|---|---|---|
| `_rclpy.WaitSet(subscriptions, guards, timers, clients, services, events, context)` | yes | yes | yes | yes | yes | the node's executor takes the messages |
| `Subscription.handle.take_message(type, raw)`, a pair of message and ``{"received_timestamp": ns}`` | yes | yes | yes | yes | yes | likewise |
| `Node._parameter_overrides`, a mapping by name | yes | yes | yes | yes | yes | nobody is warned of a misspelt parameter |

Jazzy, Kilted and Lyrical have run, the others were read. Whatever a distribution lacks is found when a node
starts, not when it is too late.
"""  # noqa: E501  a table

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rclpy.context import Context
    from rclpy.guard_condition import GuardCondition
    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from typing_extensions import Self

_WAITING = ("clear_entities", "add_subscription", "add_guard_condition", "wait")


def can_take_directly(context: Context) -> bool:
    """Return whether messages can be waited for and taken past the executor.

    Args:
        context: of the node whose messages they are.
    """
    try:
        with context.handle:
            wait_set = _rclpy.WaitSet(0, 0, 0, 0, 0, 0, context.handle)
    except (AttributeError, TypeError):
        return False
    return all(hasattr(wait_set, name) for name in _WAITING) and hasattr(
        getattr(_rclpy, "Subscription", None), "take_message"
    )


def parameter_overrides(node: Node) -> Mapping[str, object]:
    """Return the values that the command line and files give a node's parameters, by name."""
    overrides = getattr(node, "_parameter_overrides", {})
    return overrides if isinstance(overrides, dict) else {}


class DirectTaking:
    """Waits for the messages and events of some subscriptions, and takes them; one thread.

    One wait set is used again and again, as `rclpy.wait_for_message` uses it once; the executors
    build a new one of everything in the node for every message.

    Args:
        context: of the node.
        subscriptions: what is taken from.
        stop: ends the wait.
    """

    def __init__(
        self, context: Context, subscriptions: Iterable[Subscription[Any]], stop: GuardCondition
    ) -> None:
        self._context = context
        self._subscriptions = list(subscriptions)
        self._stop = stop
        self._events = [event for each in self._subscriptions for event in each.event_handlers]
        self._in_use = ExitStack()
        self._wait_set: Any = None

    def __enter__(self) -> Self:
        # In use, so that nothing is destroyed under the wait.
        for entity in (
            *(subscription.handle for subscription in self._subscriptions),
            self._stop.handle,
            self._context.handle,
            *self._events,
        ):
            self._in_use.enter_context(entity)
        count = len(self._subscriptions)
        self._wait_set = _rclpy.WaitSet(count, 1, 0, 0, 0, 0, self._context.handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._wait_set = None
        self._in_use.close()

    def wait(self, timeout_s: float) -> None:
        """Return when there is a message, when told to stop, or after a while."""
        self._wait_set.clear_entities()
        for subscription in self._subscriptions:
            self._wait_set.add_subscription(subscription.handle)
        self._wait_set.add_guard_condition(self._stop.handle)
        self._wait_set.wait(round(timeout_s * 1e9))

    def handle_events(self) -> None:
        """Call the callbacks of events that have happened.

        Not done by `wait`: with Fast DDS, whoever waits for events wakes up with every message.
        """
        if not self._events:
            return
        wait_set = _rclpy.WaitSet(0, 0, 0, 0, 0, len(self._events), self._context.handle)
        wait_set.clear_entities()
        for event in self._events:
            event.add_to_wait_set(wait_set)
        wait_set.wait(0)
        for event in self._events:
            if event.is_ready(wait_set):
                event.callback(event.take_data())


def take(subscription: Subscription[Any]) -> Sequence[Any] | None:
    """Take a message.

    Returns:
        The message and when it came, nanoseconds since the epoch; None if there is none.
    """
    taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    if taken is None:
        return None
    message, details = taken
    arrived_ns = details.get("received_timestamp") if isinstance(details, dict) else None
    return message, time.time_ns() if arrived_ns is None else arrived_ns
