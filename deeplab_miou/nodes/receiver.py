"""A thread that takes one subscription's messages, past the executor.

rclpy's executors build a new wait set of everything in the node for every message, several times
over with several threads: a hundred times the work of taking a small image. Here one wait set with
one subscription is used again and again, as `rclpy.wait_for_message` does it once.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

_FOREVER_NS = -1


class EventsOnly(MutuallyExclusiveCallbackGroup):
    """Keeps a subscription's messages from the executor and leaves it the events."""

    def can_execute(self, entity: object) -> bool:
        """Tell whether the executor may look at an entity."""
        return not isinstance(entity, Subscription) and super().can_execute(entity)


class Receiver:
    """Takes messages, oldest first, and hands them to a callback one after the other.

    Args:
        node: whose context and subscription it is.
        subscription: of a callback group `EventsOnly`.
        callback: takes each message.
        on_error: told of an exception of the callback; nothing more is taken then.
    """

    def __init__(
        self,
        node: Node,
        subscription: Subscription,
        callback: Callable[[object], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._context = node.context
        self._subscription = subscription
        self._callback = callback
        self._on_error = on_error
        self._stopping = False
        self._stop = GuardCondition(callback=None, callback_group=None, context=node.context)
        self._thread = threading.Thread(
            target=self._run, name=f"receiver of {subscription.topic_name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finish the message in hand and end; the subscription may then be destroyed."""
        self._stopping = True
        self._stop.trigger()
        if self._thread is not threading.current_thread():
            self._thread.join()
            self._stop.destroy()

    def _run(self) -> None:
        try:
            with self._subscription.handle, self._stop.handle, self._context.handle:
                self._receive()
        except BaseException as error:  # noqa: BLE001  handed over, never swallowed
            self._on_error(error)

    def _receive(self) -> None:
        handle, kind = self._subscription.handle, self._subscription.msg_type
        wait_set = _rclpy.WaitSet(1, 1, 0, 0, 0, 0, self._context.handle)
        while not self._stopping:
            wait_set.clear_entities()
            wait_set.add_subscription(handle)
            wait_set.add_guard_condition(self._stop.handle)
            wait_set.wait(_FOREVER_NS)
            while not self._stopping:
                taken = handle.take_message(kind, self._subscription.raw)
                if taken is None:
                    break
                self._callback(taken[0])
                # Else the last message would be held until the next one comes.
                del taken
