"""What all our lifecycle nodes share: checked transitions, autostart, orderly ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, NoReturn

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import (
    LifecycleNode,
    LifecycleNodeMixin,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.nodes.parameters import Parameter, declare, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.callback_groups import CallbackGroup
    from rclpy.timer import Timer

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_THREADS = 4
_HEARTBEAT_S = 0.5
_LINGER_S = 1.5  # after a signal, for the last messages of nodes that end at the same time
_CONFIGURING_LIMIT_S = 1.5  # nothing is lost by leaving a network half loaded
_SHUTDOWN_LIMIT_S = 8.0  # launch kills after 10 s
_ACKNOWLEDGE_LIMIT_S = 0.5

COMMON_PARAMETERS = (
    Parameter(
        "autostart",
        default=True,
        description="configure and activate by itself once the node spins",
    ),
    Parameter(
        "autostart_exit_on_failure",
        default=False,
        description="end the process when autostart fails, instead of staying up unconfigured",
    ),
)


class ManagedNode(LifecycleNode):
    """A lifecycle node whose subclass only says what each step does.

    A subclass overrides `configure`, `activate`, `deactivate`, `cleanup` and `finish`, which
    return nothing and raise when they fail: a `DeeplabMiouError` becomes one log line and a
    refused transition, anything else a traceback and the way through error processing back to
    unconfigured. `deactivate` and `cleanup` must bear a node that got only half way.

    Args:
        name: default node name.
        parameters: the node's table; the values are in `settings` from `configure` on.

    Attributes:
        settings: checked values of the parameters by name.
        transition_group: callbacks in this group never run during a transition.
    """

    def __init__(self, name: str, parameters: Sequence[Parameter]) -> None:
        Node.__init__(self, name)
        # Not LifecycleNode.__init__: it puts the transition services into the group of the
        # parameter services, which would then be mute while a network loads.
        self.transition_group = MutuallyExclusiveCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self.transition_group)
        service = self._service_change_state
        service.callback = self._refuse_impossible(service.callback)

        self._table = (*COMMON_PARAMETERS, *parameters)
        self.settings: dict[str, object] = {}
        self.failure: BaseException | None = None
        self._request_stop: Callable[[], None] = lambda: None
        declare(
            self,
            self._table,
            is_fixed=lambda: self.state_label != "unconfigured",
            on_change=self._change_settings,
        )
        # The executor looks at a callback's exception only when the next callback is due.
        self.create_steady_timer(_HEARTBEAT_S, lambda: None, ReentrantCallbackGroup())
        self._start_timer: Timer | None = None
        if self.get_parameter("autostart").value is not False:
            self._start_timer = self.create_steady_timer(
                0.001, self._autostart, self.transition_group
            )

    # What a subclass overrides.

    def configure(self) -> None:
        """Make what the node needs from `settings`."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Finish the work in hand and stop; keep all state."""

    def cleanup(self) -> None:
        """Give up all that `configure` made."""

    def finish(self) -> None:
        """Do what is due at the end of a configured node: after `deactivate`, before `cleanup`."""

    def settings_changed(self, changes: dict[str, object]) -> None:
        """Take over parameters that were changed while configured; they are checked.

        Raises:
            DeeplabMiouError: refuses the change.
        """

    def may_stop(self) -> bool:
        """Tell whether the node may stop at once after a signal; asked for at most 1.5 s."""
        return True

    # What a subclass uses.

    @property
    def state_label(self) -> str:
        """Lifecycle state: unconfigured, inactive, active, finalized or a transition state."""
        return str(self._state_machine.current_state[1])

    def create_steady_timer(
        self, period_s: float, callback: Callable[[], None], group: CallbackGroup | None = None
    ) -> Timer:
        """Create a timer of real time: those of the node's clock stand still with a paused bag."""
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self.create_timer(period_s, callback, callback_group=group, clock=clock)

    @staticmethod
    def change_period(timer: Timer, period_s: float) -> None:
        """Let a timer fire with another period from now on, not from its next time on."""
        timer.timer_period_ns = round(period_s * 1e9)
        timer.reset()

    def fail(self, error: BaseException) -> None:
        """End the process with an error; for exceptions in threads that the node owns."""
        if self.failure is None:
            self.failure = error
        self.get_logger().fatal(f"{error!r} ends this node\n" + _trace(error))
        self._request_stop()

    # Transitions.

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and run `configure`."""

        def configure() -> None:
            self.settings = read(self, self._table)
            self.configure()

        return self._guard("configure", configure, undo=self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers and run `activate`."""

        def activate() -> None:
            LifecycleNodeMixin.on_activate(self, state)
            self.activate()

        def undo() -> None:
            self.deactivate()
            LifecycleNodeMixin.on_deactivate(self, state)

        return self._guard("activate", activate, undo=undo)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `deactivate`, then disable the publishers."""

        def deactivate() -> None:
            self.deactivate()
            LifecycleNodeMixin.on_deactivate(self, state)

        return self._guard("deactivate", deactivate)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Run `cleanup`."""
        return self._guard("clean up", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go down in order from whatever state the node is in."""
        steps: list[Callable[[], object]] = []
        if state.label == "active":
            steps.append(lambda: self.on_deactivate(state))
        if state.label in ("active", "inactive"):
            steps += [lambda: self._guard("finish", self.finish), self.cleanup]
        return self._all_of(steps)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything up, so that the node can be configured again."""
        steps = (
            self.deactivate,
            lambda: LifecycleNodeMixin.on_deactivate(self, state),
            self.cleanup,
        )
        return self._all_of(steps)

    def _guard(
        self, name: str, step: Callable[[], None], undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        # rclpy swallows exceptions of transition callbacks without a word.
        began = time.monotonic()
        try:
            step()
        except DeeplabMiouError as error:
            self.get_logger().error(f"cannot {name}: {error}")
            if undo is not None:
                self._all_of([undo])
            return FAILURE
        except Exception as error:  # noqa: BLE001  reported, and the way through error processing
            self.get_logger().error(f"cannot {name}: {error!r}\n" + _trace(error))
            return ERROR
        self.get_logger().debug(f"{name}: done in {time.monotonic() - began:.3f} s")
        return SUCCESS

    def _all_of(self, steps: Sequence[Callable[[], object]]) -> TransitionCallbackReturn:
        result = SUCCESS
        for step in steps:
            try:
                if step() in (FAILURE, ERROR):
                    result = FAILURE
            except Exception as error:  # noqa: BLE001  the steps that follow must still run
                self.get_logger().error(f"while going down: {error!r}\n" + _trace(error))
                result = FAILURE
        return result

    def _autostart(self) -> None:
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None
        if self.state_label != "unconfigured":
            return
        for name, trigger in (
            ("configure", self.trigger_configure),
            ("activate", self.trigger_activate),
        ):
            if trigger() != SUCCESS:
                self.get_logger().error(
                    f"autostart: {name} failed, the node stays {self.state_label}; mend what the "
                    f"line above says, then `ros2 lifecycle set {self.get_fully_qualified_name()} "
                    f"{name}`"
                )
                if self.get_parameter("autostart_exit_on_failure").value is True:
                    self.failure = DeeplabMiouError(f"autostart: {name} failed")
                    self._request_stop()
                return

    def _refuse_impossible(self, callback: Callable[..., object]) -> Callable[..., object]:
        # A transition that the state does not allow raises in rclpy and would end the executor.
        def change_state(request: object, response: object) -> object:
            try:
                return callback(request, response)
            except Exception as error:  # noqa: BLE001  rclpy's RCLError has no public name
                wanted = request.transition.label or f"transition {request.transition.id}"
                reason = str(error).split(",")[0]
                self.get_logger().error(f"cannot {wanted} while {self.state_label}: {reason}")
                response.success = False
                return response

        return change_state

    def _change_settings(self, changes: dict[str, object]) -> None:
        if self.state_label in ("inactive", "active", "activating", "deactivating"):
            self.settings_changed(changes)
            self.settings = {**self.settings, **changes}


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


def run(node_factory: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> int:
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
        text = " ".join(str(error).split())
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


def main(node_factory: Callable[[], ManagedNode], args: Sequence[str] | None = None) -> NoReturn:
    """Run a node as `run` does and end the process with its exit status."""
    status = run(node_factory, args)
    # The interpreter takes a while to unload what was imported: a second Ctrl-C changes nothing.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def _spin(node: ManagedNode, wakeup: _Wakeup) -> int:
    executor = MultiThreadedExecutor(num_threads=_THREADS)
    executor.add_node(node)
    stopping = threading.Event()
    node._request_stop = wakeup.set  # noqa: SLF001  the other half of the same class

    def spin() -> None:
        try:
            while not stopping.is_set():
                # An entity may be destroyed while the executor holds it.
                with contextlib.suppress(InvalidHandle):
                    executor.spin_once()
        except BaseException as error:  # noqa: BLE001  reported, and the process ends with it
            node.fail(error)

    spinner = threading.Thread(target=spin, name="executor")
    spinner.start()
    wakeup.wait()

    ended = threading.Event()
    watchdog = threading.Thread(target=_watch, args=(node, ended), daemon=True)
    watchdog.start()
    deadline = time.monotonic() + _LINGER_S
    while node.failure is None and time.monotonic() < deadline and not node.may_stop():
        time.sleep(0.02)
    stopping.set()
    executor.create_task(lambda: None)  # wake() alone does not make spin_once return
    spinner.join()
    # Executor.shutdown does not wait for callbacks that are still running.
    executor._executor.shutdown(wait=True, cancel_futures=True)  # noqa: SLF001
    in_order = _shut_down(node)
    ended.set()
    watchdog.join()
    executor.shutdown()
    return EXIT_OK if in_order and node.failure is None else EXIT_FAILED


def _shut_down(node: ManagedNode) -> bool:
    try:
        if node.state_label == "finalized":
            return True
        ended = node.trigger_shutdown() == SUCCESS
    except Exception as error:  # noqa: BLE001  rclpy's RCLError has no public name
        node.get_logger().error(f"cannot shut down: {error!r}")
        return False
    limit = time.monotonic() + _ACKNOWLEDGE_LIMIT_S
    for publisher in node.publishers:
        remaining = max(limit - time.monotonic(), 0.0)
        publisher.wait_for_all_acked(Duration(seconds=remaining))
    return ended


def _watch(node: ManagedNode, ended: threading.Event) -> None:
    """End a process that does not end by itself."""
    began = time.monotonic()
    while time.monotonic() - began < _SHUTDOWN_LIMIT_S:
        if ended.wait(0.1):
            return
        if node.state_label == "configuring" and time.monotonic() - began > _CONFIGURING_LIMIT_S:
            sys.stderr.write("stopped while configuring: nothing was counted yet\n")
            sys.stderr.flush()
            os._exit(EXIT_OK)
    sys.stderr.write(f"did not stop within {_SHUTDOWN_LIMIT_S:g} s: giving up\n")
    sys.stderr.flush()
    os._exit(EXIT_FAILED)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
