"""A process around one lifecycle node: it shuts down in order, whatever the cause."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from deeplab_miou.nodes.ros.executor import NodeExecutor
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deeplab_miou.nodes.lifecycle.managed import ManagedNode

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_LINGER_S = 1.5  # after a signal, for the last messages of nodes that end at the same time
_CONFIGURING_LIMIT_S = 1.5  # nothing is lost by leaving a network half loaded
_SHUTDOWN_LIMIT_S = 6.5  # launch kills after 10 s, and we promise 8


def run(node_factory: Callable[[], ManagedNode[Any]], args: Sequence[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM or a failure, and take it down in order.

    Args:
        node_factory: makes the node; called with ROS initialised.
        args: command line; None for that of the process.

    Returns:
        Exit status: 0 after a signal, 1 if the node failed, 2 if it could not be made.
    """
    wakeup = _Wakeup()
    try:
        # rclpy's own handlers invalidate the context first: too late for a last message.
        rclpy.init(
            args=None if args is None else list(args),
            signal_handler_options=SignalHandlerOptions.NO,
        )
        node = node_factory()
    except Exception as error:  # noqa: BLE001  rclpy's argument errors have no common base
        text = printable(str(error))
        sys.stderr.write(f"cannot start: {text or repr(error)}\n")
        rclpy.try_shutdown()
        wakeup.close()
        return EXIT_USAGE
    try:
        return _spin(node, wakeup)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        wakeup.close()


def main(
    node_factory: Callable[[], ManagedNode[Any]], args: Sequence[str] | None = None
) -> NoReturn:
    """Run a node as `run` does and end the process with its exit status."""
    status = run(node_factory, args)
    # The interpreter takes a while to unload what was imported: a second Ctrl-C changes nothing.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def _spin(node: ManagedNode[Any], wakeup: _Wakeup) -> int:
    node.request_stop = wakeup.set
    executor = NodeExecutor(node, node.threads, node.fail)
    executor.start()
    wakeup.wait()

    ended = threading.Event()
    watchdog = threading.Thread(target=_watch, args=(node, ended), daemon=True)
    watchdog.start()
    deadline = time.monotonic() + _LINGER_S
    while node.failure is None and time.monotonic() < deadline and not node.may_stop():
        time.sleep(0.02)
    executor.stop()
    in_order = _shut_down(node)
    ended.set()
    watchdog.join()
    executor.shutdown()
    return EXIT_OK if in_order and node.failure is None else EXIT_FAILED


def _shut_down(node: ManagedNode[Any]) -> bool:
    try:
        if node.state_label == "finalized":
            return True
        return bool(node.trigger_shutdown() == TransitionCallbackReturn.SUCCESS)
    except Exception as error:  # noqa: BLE001  rclpy's RCLError has no public name
        node.get_logger().error(f"cannot shut down: {error!r}")
        return False


def _watch(node: ManagedNode[Any], ended: threading.Event) -> None:
    """End a process that does not end by itself."""
    began = time.monotonic()
    while time.monotonic() - began < _SHUTDOWN_LIMIT_S:
        if ended.wait(0.1):
            return
        if node.state_label == "configuring" and time.monotonic() - began > _CONFIGURING_LIMIT_S:
            sys.stderr.write("stopped while configuring: nothing was counted yet\n")
            sys.stderr.flush()
            os._exit(EXIT_OK)
    # What hangs may hang in a lock, too.
    faulthandler.dump_traceback_later(1.0, exit=True)
    left = node.give_up()
    sys.stderr.write(f"did not stop within {_SHUTDOWN_LIMIT_S:g} s: {left or 'giving up'}\n")
    sys.stderr.flush()
    os._exit(EXIT_OK if left and node.failure is None else EXIT_FAILED)


class _Wakeup:
    """Lets signal handlers and threads end the main thread's wait without taking a lock."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)  # the signal module asks for it
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, lambda *_: None)
            signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def set(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def wait(self) -> None:
        os.read(self._reader, 1)

    def close(self) -> None:
        if self._handlers:
            signal.set_wakeup_fd(-1)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)
