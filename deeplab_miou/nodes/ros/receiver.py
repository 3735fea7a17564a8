"""A thread that takes the messages of some subscriptions, past the executor.

rclpy's executors build a new wait set of everything in the node for every message, several times
over with several threads: many times the work of taking a small image. Here one wait set is used
again and again, as `rclpy.wait_for_message` does it once. The subscriptions' events are looked at
every so often: with Fast DDS, whoever waits for them wakes up with every message.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node
    from rclpy.subscription import Subscription

_EVENTS_PERIOD_S = 0.5
# Messages wait no longer than this and a piece of work in the middleware.
_MOST_WAITING_NS = 20_000_000


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
    """Takes messages, oldest first of each subscription, and hands them on one after the other.

    Args:
        node: whose context and subscriptions they are.
        callbacks: take the messages of each subscription, which is of a callback group
            `Unexecuted`; with ``raw`` their bytes.
        on_error: told of an exception of a callback; nothing more is taken then.
        linger_s: how long to wait after a message has come until it and those that followed are
            taken in bulk, seconds: less work for many small messages that nobody is in a hurry for.
            What has come meanwhile is taken even when the thread is told to end.
        between: work to do between messages, a piece at each call; returns whether there is more.
            It is put off when messages have been waiting for a while, because the middleware drops
            those that it has no room for, and nobody counts them. Before the thread ends it is
            called until there is no more.
    """

    def __init__(
        self,
        node: Node,
        callbacks: Mapping[Subscription, Callable[[object], None]],
        on_error: Callable[[BaseException], None],
        *,
        linger_s: float = 0.0,
        between: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = node.context
        self._callbacks = dict(callbacks)
        self._on_error = on_error
        self._linger_s = linger_s
        self._between = between
        self._events = [event for each in callbacks for event in each.event_handlers]
        self._stopping = threading.Event()
        self._stop = GuardCondition(callback=None, callback_group=None, context=node.context)
        topics = ", ".join(subscription.topic_name for subscription in callbacks)
        self._thread = threading.Thread(target=self._run, name=f"receiver of {topics}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is in hand and end; the subscriptions may then be destroyed."""
        self._stopping.set()
        self._stop.trigger()
        if self._thread is not threading.current_thread():
            self._thread.join()
            self._stop.destroy()

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                # In use, so that nothing is destroyed under the wait.
                for entity in (
                    *(subscription.handle for subscription in self._callbacks),
                    self._stop.handle,
                    self._context.handle,
                    *self._events,
                ):
                    stack.enter_context(entity)
                self._receive()
                while self._between():
                    pass
        except BaseException as error:  # noqa: BLE001  handed over, never swallowed
            self._on_error(error)

    def _receive(self) -> None:
        handles = [subscription.handle for subscription in self._callbacks]
        wait_set = _rclpy.WaitSet(len(handles), 1, 0, 0, 0, 0, self._context.handle)
        events_s = 0.0
        while not self._stopping.is_set():
            wait_set.clear_entities()
            for handle in handles:
                wait_set.add_subscription(handle)
            wait_set.add_guard_condition(self._stop.handle)
            wait_set.wait(round(_EVENTS_PERIOD_S * 1e9))
            if self._linger_s:
                self._stopping.wait(self._linger_s)
            self._take_all()
            if self._events and time.monotonic() - events_s >= _EVENTS_PERIOD_S:
                events_s = time.monotonic()
                self._take_events()

    def _take_all(self) -> None:
        """Take messages until there are none and nothing is left to do between them."""
        is_done = False
        while not is_done and (self._linger_s or not self._stopping.is_set()):
            newest_ns = None
            for subscription, callback in self._callbacks.items():
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
                if taken is not None:
                    newest_ns = taken[1]["received_timestamp"]
                    callback(taken[0])
                # Else the last message would be held until the next one comes.
                del taken
            if newest_ns is None:
                is_done = not self._between()
            elif time.time_ns() - newest_ns < _MOST_WAITING_NS:
                # At once, while what was taken is in the processor's cache.
                self._between()

    def _take_events(self) -> None:
        wait_set = _rclpy.WaitSet(0, 0, 0, 0, 0, len(self._events), self._context.handle)
        wait_set.clear_entities()
        for event in self._events:
            event.add_to_wait_set(wait_set)
        wait_set.wait(0)
        for event in self._events:
            if event.is_ready(wait_set):
                event.callback(event.take_data())
