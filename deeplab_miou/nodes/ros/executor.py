"""Runs a node's callbacks in threads, and distinguishes our own exceptions from rclpy's."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from rclpy.service import Service

from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.task import Task

_NOTHING_READY = (
    ConditionReachedException,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)


class NodeExecutor(Executor):
    """Runs the callbacks of one node until it is stopped.

    Its threads take turns: one waits until a callback is due and runs it, and the next waits
    meanwhile. In rclpy's MultiThreadedExecutor the thread that waits only hands over what is due,
    again and again while all others are busy, which takes a core and ever more memory; and an
    exception is handed over only when the next callback is due.

    What others send can make callbacks that belong to rclpy itself raise: a time before 1970 on
    ``/clock``, a parameter of an unknown type. That is logged and the node continues.

    Args:
        node: the node.
        threads: how many callbacks may run at once.
        on_error: called with an exception of any other callback.
    """

    def __init__(self, node: Node, threads: int, on_error: Callable[[BaseException], None]) -> None:
        super().__init__(context=node.context)
        self._spun_node = node
        self._on_error = on_error
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._contained = Throttle()
        self.add_node(node)
        self._threads = [
            threading.Thread(target=self._spin, name=f"callbacks_{index}")
            for index in range(threads)
        ]

    def start(self) -> None:
        """Begin to run callbacks."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look for no more callbacks that are due, and finish those in hand."""
        self._stopping.set()
        self.create_task(lambda: None)  # wake() alone does not end the wait
        for thread in self._threads:
            thread.join()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait until a callback is due, and run it."""
        # An entity may be destroyed while we hold it.
        with contextlib.suppress(InvalidHandle, *_NOTHING_READY):
            with self._turn:
                if self._stopping.is_set():
                    return
                task, entity, _ = self.wait_for_ready_callbacks(timeout_sec)
            self._run(task, entity)

    def _spin(self) -> None:
        try:
            while self.context.ok() and not self._stopping.is_set():
                self.spin_once()
        except BaseException as error:  # noqa: BLE001  handed over, never swallowed
            self._on_error(error)

    def _run(self, task: Task, entity: object) -> None:
        try:
            # Does nothing if the next thread, who is shown a task until it runs, was faster.
            task()
            error = task.exception()
        except BaseException as raised:  # noqa: BLE001  handed over, never swallowed
            error = raised
        if error is None or isinstance(error, InvalidHandle):
            return
        if _is_rclpys(entity):
            self._log(entity, error)
        else:
            self._on_error(error)

    def _log(self, entity: object, error: BaseException) -> None:
        name = getattr(entity, "topic_name", None) or getattr(entity, "srv_name", "")
        held_back = self._contained.admit(name)
        if held_back is not None:
            more = f" ({held_back} more like it since the last such line)" if held_back else ""
            self._spun_node.get_logger().warning(
                f"{name}: ignored, because rclpy could not process it: {error!r}{more}"
            )


def _is_rclpys(entity: object) -> bool:
    """Return whether an exception that came out of an entity is rclpy's.

    The callbacks of our services raise nothing, see `ManagedNode.create_own_service`: what is left
    is an answer that cannot be sent.
    """
    callback = getattr(entity, "callback", None)
    return isinstance(entity, Service) or getattr(callback, "__module__", "").startswith("rclpy.")
