"""The base of all our lifecycle nodes: parameters, transitions and callbacks that are checked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import (
    LifecycleNode,
    LifecycleNodeMixin,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.node import Node
from std_srvs.srv import Trigger

from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.nodes.lifecycle.steps import SUCCESS, Steps, format_trace
from deeplab_miou.nodes.ros.parameters import declare, read
from deeplab_miou.options.declaration import changed, make
from deeplab_miou.options.lifecycle import LifecycleOptions
from deeplab_miou.options.nodes import OPTION_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.callback_groups import CallbackGroup
    from rclpy.service import Service
    from rclpy.timer import Timer

Options = TypeVar("Options", bound=LifecycleOptions)

_STEADY = ClockType.STEADY_TIME
_ACKNOWLEDGE_LIMIT_S = 1.0  # a subscriber that was killed acknowledges nothing


class ManagedNode(LifecycleNode, Generic[Options]):
    """A lifecycle node whose subclass only says what each step does.

    A subclass overrides `configure`, `activate`, `deactivate`, `cleanup` and `finish`, which
    return nothing and raise when they fail: a `DeeplabMiouError` becomes one log line and a
    refused transition, anything else a traceback and the way through error processing back to
    unconfigured. `deactivate` and `cleanup` must bear a node that got only half way.

    Callbacks that a subclass makes with `create_own_service`, `create_steady_timer` or `guarded`,
    and `settings_changed`, run only while the node is inactive or active and never during a
    transition, so that they may use all that `configure` made.

    Args:
        name: default node name.
        declared: the dataclass of its options; the values are in `settings` from `configure` on.

    Attributes:
        settings: checked values of the parameters; the defaults before `configure`.
        transition_group: callbacks in this group never run during a transition.
        failure: what the process ends with; None for an orderly end.
        request_stop: ends the process; whoever runs the node sets it.
        threads: of the executor: one for each group whose callbacks take long, and one for the
            rest. Each costs a megabyte or two.
    """

    threads = 2

    def __init__(self, name: str, declared: type[Options]) -> None:
        Node.__init__(self, name)
        # Not LifecycleNode.__init__: it puts the transition services into the group of the
        # parameter services, which would then be mute while a network loads.
        self.transition_group = MutuallyExclusiveCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self.transition_group)
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = self._refuse_impossible(service.callback)

        self._steps = Steps(self)
        self._declared = declared
        self.settings = make(declared, {})
        self.failure: BaseException | None = None
        self.request_stop: Callable[[], None] = lambda: None
        declare(
            self,
            declared,
            elsewhere=OPTION_NAMES,
            is_fixed=lambda: self.state_label != "unconfigured",
            on_change=self._change_settings,
        )

    # What a subclass overrides.

    def configure(self) -> None:
        """Make what the node needs from `settings`."""

    def activate(self) -> None:
        """Begin to work."""

    def interrupt(self) -> None:
        """Release whatever callbacks are waiting for: the node is about to be taken down.

        Called before `deactivate`, while callbacks may be running.
        """

    def deactivate(self) -> None:
        """Finish the current work and stop; keep all state."""

    def cleanup(self) -> None:
        """Give up all that `configure` made."""

    def finish(self) -> None:
        """Do what is due at the end of a configured node: after `deactivate`, before `cleanup`."""

    def settings_changed(self, settings: Options) -> None:
        """Take over parameters that were changed while configured.

        Args:
            settings: with the changes, which are checked; `self.settings` is still without.

        Raises:
            DeeplabMiouError: refuses the change.
        """

    def may_stop(self) -> bool:
        """Return whether the node may stop at once after a signal; asked for at most 1.5 s."""
        return True

    def give_up(self) -> str:
        """Save what can be saved if the node cannot finish in time; takes a second at most.

        Called from another thread than the one that hangs in `deactivate`, `finish` or `cleanup`.

        Returns:
            What is lost, if all else has been saved; else nothing.
        """
        return ""

    # What a subclass uses.

    @property
    def state_label(self) -> str:
        """Lifecycle state: unconfigured, inactive, active, finalized or a transition state."""
        return self._steps.state

    def guarded(
        self, callback: Callable[..., Any], otherwise: Callable[..., Any] = lambda *_: None
    ) -> Callable[..., Any]:
        """Return a callback that runs only while the node is configured and not in transition.

        An exception of the callback ends the node. A message that comes during a transition is
        lost to it: subscribe from a timer, not in `activate`.

        Args:
            callback: what to run.
            otherwise: what to run instead, with the same arguments.
        """

        def call(*arguments: object) -> object:
            with self._steps.gate.enter() as is_admitted:
                try:
                    if is_admitted:
                        return callback(*arguments)
                except Exception as error:  # noqa: BLE001  handed over, never swallowed
                    self.fail(error)
                return otherwise(*arguments)

        return call

    def create_own_service(
        self,
        kind: type,
        name: str,
        callback: Callable[[Any, Any], Any],
        group: CallbackGroup,
    ) -> Service:
        """Create a service of a type with `success` and `message`, such as Trigger; guarded."""

        def refuse(_request: object, response: Any) -> object:  # noqa: ANN401
            response.success = False
            response.message = f"the node is {self.state_label}, expected inactive or active"
            return response

        return self.create_service(kind, name, self.guarded(callback, refuse), callback_group=group)

    def create_report_service(self, write: Callable[[], str], group: CallbackGroup) -> Service:
        """Create ``~/save_report``, which answers where a report was written or why it was not.

        Args:
            write: writes a report and says where; raises DeeplabMiouError.
            group: of the service.
        """

        def save(_request: object, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message = write()
                response.success = True
            except DeeplabMiouError as error:
                response.message = str(error)
                self.get_logger().error(response.message)
            return response

        return self.create_own_service(Trigger, "~/save_report", save, group)

    def create_steady_timer(
        self, period_s: float, callback: Callable[[], None], group: CallbackGroup | None = None
    ) -> Timer:
        """Create a guarded timer in real time, because a paused bag stops the node's clock."""
        clock = Clock(clock_type=_STEADY)
        return self.create_timer(period_s, self.guarded(callback), group, clock)

    @staticmethod
    def change_period(timer: Timer, period_s: float) -> None:
        """Let a timer fire with another period from now on."""
        timer.timer_period_ns = round(period_s * 1e9)
        timer.reset()

    def fail(self, error: BaseException) -> None:
        """End the process with an error; for exceptions in threads that the node owns."""
        if self.failure is None:
            self.failure = error
        self.get_logger().fatal(f"{error!r} ends this node\n" + format_trace(error))
        self.request_stop()

    # Transitions.

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and run `configure`."""

        def configure() -> None:
            self.settings = read(self, self._declared)
            self.configure()

        return self._steps.take("configuring", configure, undo=self.cleanup)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the publishers and run `activate`."""

        def activate() -> None:
            LifecycleNodeMixin.on_activate(self, state)
            self.activate()

        def undo() -> None:
            self.interrupt()
            self.deactivate()
            LifecycleNodeMixin.on_deactivate(self, state)

        return self._steps.take("activating", activate, undo=undo)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run `deactivate`, then disable the publishers."""
        self._steps.take_all([self.interrupt])

        def deactivate() -> None:
            self.deactivate()
            LifecycleNodeMixin.on_deactivate(self, state)

        return self._steps.take("deactivating", deactivate)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        """Run `cleanup`."""
        return self._steps.take("cleaningup", self._clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go down in order from whatever state the node is in."""
        steps: list[Callable[[], object]] = []
        if state.label == "active":
            steps.append(lambda: self.on_deactivate(state))
        if state.label in ("active", "inactive"):
            steps.append(lambda: self._steps.take("shuttingdown", self.finish))
            steps.append(self._clean_up)
        result = self._steps.take_all(steps)
        self._steps.state = "finalized"
        return result

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything up, so that the node can be configured again."""
        self._steps.state = "errorprocessing"
        steps = (
            self.interrupt,
            self._steps.gate.close,
            self.deactivate,
            lambda: LifecycleNodeMixin.on_deactivate(self, state),
            self._clean_up,
        )
        result = self._steps.take_all(steps)
        self._steps.state = "unconfigured" if result is SUCCESS else "finalized"
        return result

    def _clean_up(self) -> None:
        # With its publisher goes what a subscriber has not acknowledged: the last counts, mostly.
        limit_s = time.monotonic() + _ACKNOWLEDGE_LIMIT_S
        for publisher in self.publishers:
            remaining_s = max(limit_s - time.monotonic(), 0.0)
            publisher.wait_for_all_acked(Duration(seconds=remaining_s))
        self.cleanup()

    def _refuse_impossible(self, callback: Callable[..., object]) -> Callable[..., object]:
        # A transition that the state does not allow raises in rclpy and would end the executor.
        def change_state(request: Any, response: Any) -> object:  # noqa: ANN401
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
        if self.state_label in ("unconfigured", "finalized"):
            return
        with self._steps.gate.enter() as is_admitted:
            if not is_admitted:
                raise ConfigurationError(
                    f"the node is {self.state_label}: set the parameter again afterwards"
                )
            try:
                settings = changed(self.settings, changes)
                self.settings_changed(settings)
            except DeeplabMiouError:
                raise
            except Exception as error:
                self.fail(error)
                raise ConfigurationError(repr(error)) from error
            self.settings = settings
