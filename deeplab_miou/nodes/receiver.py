"""A thread that takes one subscription's messages, past the executor.

rclpy's executors build a new wait set of everything in the node for every message, several times
over with several threads: many times the work of taking a small image. Here one wait set with one
subscription is used again and again, as `rclpy.wait_for_message` does it once. The subscription's
events are waited for here too: with Fast DDS, whoever waits for them wakes up with every message.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.subscription import Subscription

_FOREVER_NS = -1


class Unexecuted(CallbackGroup):
    """Keeps the executor from what belongs to a `Receiver`."""

    def can_execute(self, _entity: object) -> bool:
        """Tell the executor not to look at an entity."""
        return False

    def beginning_execution(self, _entity: object) -> bool:
        """Tell the executor not to execute an entity."""
        return False

    def ending_execution(self, _entity: object) -> None:
        """Do nothing: nothing was executed."""


class Receiver:
    """Takes messages, oldest first, and hands them to a callback one after the other.

    Args:
        node: whose context and subscription it is.
        subscription: of a callback group `Unexecuted`.
        callback: takes each message; of a subscription with ``raw`` its bytes.
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
            with contextlib.ExitStack() as stack:
                # In use, so that nothing is destroyed under the wait.
                for entity in (
                    self._subscription.handle,
                    self._stop.handle,
                    self._context.handle,
                    *self._subscription.event_handlers,
                ):
                    stack.enter_context(entity)
                self._receive()
        except BaseException as error:  # noqa: BLE001  handed over, never swallowed
            self._on_error(error)

    def _receive(self) -> None:
        handle, kind = self._subscription.handle, self._subscription.msg_type
        events = self._subscription.event_handlers
        wait_set = _rclpy.WaitSet(1, 1, 0, 0, 0, len(events), self._context.handle)
        while not self._stopping:
            wait_set.clear_entities()
            wait_set.add_subscription(handle)
            wait_set.add_guard_condition(self._stop.handle)
            for event in events:
                event.add_to_wait_set(wait_set)
            wait_set.wait(_FOREVER_NS)
            for event in events:
                if event.is_ready(wait_set):
                    event.callback(event.take_data())
            while not self._stopping:
                taken = handle.take_message(kind, self._subscription.raw)
                if taken is None:
                    break
                self._callback(taken[0])
                # Else the last message would be held until the next one comes.
                del taken
