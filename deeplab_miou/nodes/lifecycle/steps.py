"""Steps of a lifecycle: none runs while a callback does, and its outcome decides the next state."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING

from rclpy.lifecycle import TransitionCallbackReturn

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.nodes.lifecycle.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR

_CONFIGURED = ("inactive", "active")
# State during a transition: what it is called in messages, state when done and when refused. As
# rcl's state machine has it, whose state rclpy does not show.
_TRANSITIONS = {
    "configuring": ("configure", "inactive", "unconfigured"),
    "activating": ("activate", "active", "inactive"),
    "deactivating": ("deactivate", "inactive", "active"),
    "cleaningup": ("clean up", "unconfigured", "inactive"),
    "shuttingdown": ("finish", "finalized", "finalized"),
}


class Steps:
    """Takes a node's steps and keeps its state; one transition at a time.

    Args:
        node: whose steps they are; it logs what fails.

    Attributes:
        state: lifecycle state: unconfigured, inactive, active, finalized or a transition state.
        gate: open while callbacks may run, in the states inactive and active.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.state = "unconfigured"
        self.gate = Gate()

    def take(
        self, during: str, step: Callable[[], None], undo: Callable[[], None] | None = None
    ) -> TransitionCallbackReturn:
        """Take a step with no callback running; the state follows from how it ends.

        Args:
            during: the transition state.
            step: raises DeeplabMiouError to refuse the transition.
            undo: takes back what a refused step has begun.
        """
        name, if_done, if_refused = _TRANSITIONS[during]
        self.state = during
        self.gate.close()
        result = self._guard(name, step, undo)
        if result is not ERROR:
            self.state = if_done if result is SUCCESS else if_refused
            if self.state in _CONFIGURED:
                self.gate.open()
        return result

    def take_all(self, steps: Sequence[Callable[[], object]]) -> TransitionCallbackReturn:
        """Take all of some steps, whatever becomes of those before."""
        result = SUCCESS
        for step in steps:
            try:
                if step() in (FAILURE, ERROR):
                    result = FAILURE
            except Exception as error:  # noqa: BLE001  the steps that follow must still run
                self._node.get_logger().error(
                    f"while shutting down: {error!r}\n" + format_trace(error)
                )
                result = FAILURE
        return result

    def _guard(
        self, name: str, step: Callable[[], None], undo: Callable[[], None] | None
    ) -> TransitionCallbackReturn:
        # rclpy swallows exceptions of transition callbacks without a word.
        began = time.monotonic()
        try:
            step()
        except DeeplabMiouError as error:
            self._node.get_logger().error(f"cannot {name}: {error}")
            if undo is not None:
                self.take_all([undo])
            return FAILURE
        except Exception as error:  # noqa: BLE001  reported, and the way through error processing
            self._node.get_logger().error(f"cannot {name}: {error!r}\n" + format_trace(error))
            return ERROR
        self._node.get_logger().debug(f"{name}: done in {time.monotonic() - began:.3f} s")
        return SUCCESS


def format_trace(error: BaseException) -> str:
    """Return an exception's traceback, without a newline at the end."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
