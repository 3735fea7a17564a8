"""Takes messages of some subscriptions one by one, bypassing the executor where possible.

rclpy's executors build a new wait set of everything in the node for every message, several times
over with several threads: many times the work of taking a small image. Here a thread takes them
directly; where rclpy does not offer what that needs, the node's executor does it after all.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.guard_condition import GuardCondition

from deeplab_miou.nodes.ros.rclpy_private import DirectTaking, can_take_directly, take

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rclpy.node import Node
    from rclpy.subscription import Subscription

    Callbacks = Mapping[Subscription, Callable[[Any], None]]

_EVENTS_PERIOD_S = 0.5
# Messages wait no longer than this and a piece of work in the middleware.
_MOST_WAITING_NS = 20_000_000


class Receiver(Protocol):
    """Hands on the messages of some subscriptions until it is stopped."""

    def stop(self) -> None:
        """Finish the current message and stop; then the subscriptions may be destroyed."""


def receiving_group(node: Node) -> CallbackGroup:
    """Return a callback group for one subscription that a `Receiver` is to take from."""
    return _Unexecuted() if can_take_directly(node.context) else _Gated()


def receive(
    node: Node,
    callbacks: Callbacks,
    on_error: Callable[[BaseException], None],
    *,
    linger_s: float = 0.0,
    between_messages: Callable[[], bool] = lambda: False,
) -> Receiver:
    """Start passing messages on, one after the other, the oldest of each subscription first.

    Args:
        node: whose context and subscriptions they are.
        callbacks: take the messages of each subscription, whose callback group is a
            `receiving_group`; with ``raw`` their bytes.
        on_error: called with an exception of a callback; no more messages are taken then.
        linger_s: how long to wait after a message has come until it and those that followed are
            taken in bulk, seconds: less work for many small messages that are not urgent.
            What has arrived by then is taken even when the thread is stopped.
        between_messages: does a piece of other work; returns whether there is more to do.
            It is put off when messages have been waiting for a while, because the middleware drops
            those that it has no room for, uncounted. Before the end it is called until
            there is no more.
    """
    if can_take_directly(node.context):
        return DirectReceiver(
            node, callbacks, on_error, linger_s=linger_s, between_messages=between_messages
        )
    return ExecutedReceiver(node, callbacks, on_error, between_messages=between_messages)


class DirectReceiver:
    """Takes messages in a thread of its own; arguments as of `receive`."""

    def __init__(
        self,
        node: Node,
        callbacks: Callbacks,
        on_error: Callable[[BaseException], None],
        *,
        linger_s: float,
        between_messages: Callable[[], bool],
    ) -> None:
        self._callbacks = dict(callbacks)
        self._on_error = on_error
        self._linger_s = linger_s
        self._between_messages = between_messages
        self._stopping = threading.Event()
        self._stop = GuardCondition(callback=None, callback_group=None, context=node.context)
        self._taking = DirectTaking(node.context, self._callbacks, self._stop)
        topics = ", ".join(subscription.topic_name for subscription in callbacks)
        self._thread = threading.Thread(target=self._run, name=f"receiver of {topics}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the current message and stop; then the subscriptions may be destroyed."""
        self._stopping.set()
        self._stop.trigger()
        if self._thread is not threading.current_thread():
            self._thread.join()
            self._stop.destroy()

    def _run(self) -> None:
        try:
            with self._taking:
                self._receive()
                while self._between_messages():
                    pass
        except BaseException as error:  # noqa: BLE001  handed over, never swallowed
            self._on_error(error)

    def _receive(self) -> None:
        events_s = 0.0
        while not self._stopping.is_set():
            self._taking.wait(_EVENTS_PERIOD_S)
            if self._linger_s:
                self._stopping.wait(self._linger_s)
            self._take_all()
            if time.monotonic() - events_s >= _EVENTS_PERIOD_S:
                events_s = time.monotonic()
                self._taking.handle_events()

    def _take_all(self) -> None:
        """Take messages until there are none and nothing is left to do between them."""
        is_done = False
        while not is_done and (self._linger_s or not self._stopping.is_set()):
            newest_ns = None
            for subscription, callback in self._callbacks.items():
                taken = take(subscription)
                if taken is not None:
                    newest_ns = taken[1]
                    callback(taken[0])
                # Else the last message would be held until the next one comes.
                del taken
            if newest_ns is None:
                is_done = not self._between_messages()
            elif time.time_ns() - newest_ns < _MOST_WAITING_NS:
                # At once, while what was taken is in the processor's cache.
                self._between_messages()


class ExecutedReceiver:
    """Has the node's executor take the messages; arguments as of `receive`."""

    def __init__(
        self,
        node: Node,
        callbacks: Callbacks,
        on_error: Callable[[BaseException], None],
        *,
        between_messages: Callable[[], bool],
    ) -> None:
        self._on_error = on_error
        self._between_messages = between_messages
        # Whoever stops it from a callback of its own must not wait for that.
        self._lock = threading.RLock()
        self._is_open = True
        self._groups = [subscription.callback_group for subscription in callbacks]
        for subscription, callback in callbacks.items():
            subscription.callback = self._one_by_one(callback)
            subscription.callback_group.is_open = True
        if node.executor is not None:
            node.executor.wake()

    def stop(self) -> None:
        """Finish the current message and stop; then the subscriptions may be destroyed."""
        with self._lock:
            if self._is_open:
                while self._between_messages():
                    pass
            self._is_open = False
            for group in self._groups:
                group.is_open = False

    def _one_by_one(self, callback: Callable[[object], None]) -> Callable[[object], None]:
        def take_one(message: object) -> None:
            with self._lock:
                if not self._is_open:
                    return
                try:
                    callback(message)
                    while self._between_messages():
                        pass
                except BaseException as error:  # noqa: BLE001  handed over, never swallowed
                    self._is_open = False
                    self._on_error(error)

        return take_one


class _Unexecuted(CallbackGroup):
    """Keeps the executor from what a thread of ours takes."""

    def can_execute(self, _entity: object) -> bool:
        """Tell the executor not to look at an entity."""
        return False

    def beginning_execution(self, _entity: object) -> bool:
        """Tell the executor not to execute an entity."""
        return False

    def ending_execution(self, _entity: object) -> None:
        """Do nothing: nothing was executed."""


class _Gated(MutuallyExclusiveCallbackGroup):
    """Has the executor leave messages where they are until somebody receives them."""

    is_open = False

    def can_execute(self, entity: object) -> bool:
        """Return whether the executor may look at an entity."""
        return self.is_open and super().can_execute(entity)
