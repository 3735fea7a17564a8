"""A process around lifecycle nodes: it shuts down in order, whatever the cause."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from deeplab_miou.nodes.lifecycle.autostart import start_once_spun
from deeplab_miou.nodes.ros.command_line import parse_own
from deeplab_miou.nodes.ros.executor import NodeExecutor
from deeplab_miou.options.node_parser import node_parser
from deeplab_miou.options.nodes import NODES
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deeplab_miou.nodes.lifecycle.managed import ManagedNode

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_LINGER_S = 1.5  # after a signal, for the last messages of nodes that end at the same time
_CONFIGURING_LIMIT_S = 1.5  # nothing is lost by leaving a network half loaded
_SHUTDOWN_LIMIT_S = 6.5  # launch kills after 10 s, and we promise 8


def run(*node_factories: Callable[[], ManagedNode[Any]], args: Sequence[str] | None = None) -> int:
    """Run nodes until SIGINT, SIGTERM or a failure of one of them, and take them down in order.

    Each has an executor of its own, so that they do not wait for each other's callbacks and
    transitions, just as in processes of their own.

    Args:
        node_factories: make the nodes; called with ROS initialised.
        args: command line; None for that of the process.

    Returns:
        Exit status: 0 after a signal, 1 if a node failed, 2 if one could not be made.
    """
    wakeup = _Wakeup()
    nodes: list[ManagedNode[Any]] = []
    try:
        try:
            # rclpy's own handlers invalidate the context first: too late for a last message.
            rclpy.init(
                args=None if args is None else list(args),
                signal_handler_options=SignalHandlerOptions.NO,
            )
            for make_node in node_factories:
                nodes.append(make_node())  # noqa: PERF401  those before one that fails are destroyed
        except Exception as error:  # noqa: BLE001  rclpy's argument errors have no common base
            text = printable(str(error))
            sys.stderr.write(f"cannot start: {text or repr(error)}\n")
            return EXIT_USAGE
        return _spin(nodes, wakeup)
    finally:
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
        wakeup.close()


def main_alone(
    name: str,
    make_node: Callable[[], ManagedNode[Any]],
    description: str,
    args: Sequence[str] | None = None,
) -> NoReturn:
    """Run one node and end the process with its exit status.

    ``--help`` explains the node and its parameters. Anything that is not a ROS argument is refused:
    it is most likely a parameter, which would not be set.

    Args:
        name: of the program, one of `NODES`.
        make_node: makes the node.
        description: what it does.
        args: command line with the program first; None for that of the process.
    """
    parse_own(node_parser(name, description, NODES[name]), sys.argv if args is None else args)
    main(make_node, args=args)


def main(
    *node_factories: Callable[[], ManagedNode[Any]], args: Sequence[str] | None = None
) -> NoReturn:
    """Run nodes as `run` does and end the process with its exit status."""
    status = run(*node_factories, args=args)
    # The interpreter takes a while to unload what was imported: a second Ctrl-C changes nothing.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def _spin(nodes: Sequence[ManagedNode[Any]], wakeup: _Wakeup) -> int:
    executors = [NodeExecutor(node, node.threads, node.fail) for node in nodes]
    for node, executor in zip(nodes, executors, strict=True):
        node.request_stop = wakeup.set
        if node.get_parameter("autostart").value is not False:
            start_once_spun(node)
        executor.start()
    wakeup.wait()

    ended = threading.Event()
    watchdog = threading.Thread(target=_watch, args=(nodes, ended), daemon=True)
    watchdog.start()
    # All at once: whoever waits for another one's last messages gets them.
    with ThreadPoolExecutor(len(nodes), thread_name_prefix="end") as pool:
        in_order = all([*pool.map(_end, nodes, executors)])
    ended.set()
    watchdog.join()
    for executor in executors:
        executor.shutdown()
    return EXIT_OK if in_order and not _failed(nodes) else EXIT_FAILED


def _end(node: ManagedNode[Any], executor: NodeExecutor) -> bool:
    """Take a node down; return whether that succeeded."""
    deadline = time.monotonic() + _LINGER_S
    while node.failure is None and time.monotonic() < deadline and not node.may_stop():
        time.sleep(0.02)
    executor.stop()
    try:
        if node.state_label == "finalized":
            return True
        return bool(node.trigger_shutdown() == TransitionCallbackReturn.SUCCESS)
    except Exception as error:  # noqa: BLE001  rclpy's RCLError has no public name
        node.get_logger().error(f"cannot shut down: {error!r}")
        return False


def _failed(nodes: Sequence[ManagedNode[Any]]) -> bool:
    return any(node.failure is not None for node in nodes)


def _watch(nodes: Sequence[ManagedNode[Any]], ended: threading.Event) -> None:
    """End a process that does not end by itself."""
    began = time.monotonic()
    left = list(nodes)
    while time.monotonic() - began < _SHUTDOWN_LIMIT_S:
        if ended.wait(0.1):
            return
        left = [node for node in nodes if node.state_label != "finalized"]
        are_configuring = all(node.state_label == "configuring" for node in left)
        if left and are_configuring and time.monotonic() - began > _CONFIGURING_LIMIT_S:
            sys.stderr.write("stopped while configuring: nothing was counted yet\n")
            sys.stderr.flush()
            os._exit(EXIT_FAILED if _failed(nodes) else EXIT_OK)
    # What hangs may hang in a lock, too.
    faulthandler.dump_traceback_later(1.0, exit=True)
    lost = [node.give_up() for node in left]
    said = "; ".join(filter(None, lost)) or "giving up"
    sys.stderr.write(f"did not stop within {_SHUTDOWN_LIMIT_S:g} s: {said}\n")
    sys.stderr.flush()
    os._exit(EXIT_OK if all(lost) and not _failed(nodes) else EXIT_FAILED)


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
