"""What ``deeplab_evaluator`` receives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.intake import Intake
from deeplab_miou.evaluation.label_info import LabelInfoListener
from deeplab_miou.nodes.evaluator.adaptive_subscription import AdaptiveSubscription
from deeplab_miou.nodes.evaluator.subscriptions import (
    DEPTH,
    Subscriptions,
    label_info_spec,
    stream_specs,
)
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.pipeline import Pipeline
    from deeplab_miou.nodes.evaluator.outputs import EvaluatorOutputs
    from deeplab_miou.nodes.evaluator.status import EvaluatorStatus
    from deeplab_miou.options.evaluator import EvaluatorOptions

_DEPTH_WAIT_S = 2.0


class EvaluatorInputs:
    """Receives images, labels and the names of ids, and adds them to a pipeline.

    Args:
        node: the node that subscribes.
        settings: its settings.
        pipeline: scores what comes.
        legends: learn the names of ids.
        status: notes each image and label that arrives.
        outputs: publish the account; they are given the inputs' names and whether they are paced.
        has_worker: whether a worker scores; else the thread that receives does so.
        on_error: called with an exception, from the thread in which it came up.

    Raises:
        ConfigurationError: a name is not a topic name.
    """

    def __init__(
        self,
        node: Node,
        settings: EvaluatorOptions,
        pipeline: Pipeline,
        legends: Legends,
        *,
        status: EvaluatorStatus,
        outputs: EvaluatorOutputs,
        has_worker: bool,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._pipeline = pipeline
        self._outputs = outputs
        self._has_worker = has_worker
        self._on_error = on_error
        self._label_info = LabelInfoListener(legends, pipeline, self._warn)
        self._intake = Intake(
            pipeline,
            on_arrival=status.arrived,
            on_readable=self._label_info.arrived,
            after_each=self._after_message,
            on_error=on_error,
        )
        self._specs = stream_specs(node, settings)
        self._info_specs = {
            name: (label_info_spec(node, settings, parameter), self._label_info.receiver(stream))
            for name, (parameter, stream) in self._label_info.topics().items()
        }
        self._throttle = Throttle()
        self._subscriptions: Subscriptions | None = None
        # Types of the messages that came before a pause.
        self._kinds: dict[str, str] = {}

    def start(self) -> None:
        """Subscribe, as soon as somebody publishes; see `follow`."""
        intake = self._intake
        members = {
            name: AdaptiveSubscription(
                self._node,
                spec,
                intake.take_depth if name == DEPTH else partial(intake.take, Stream(name)),
                self._kinds.get(name, ""),
            )
            for name, spec in self._specs.items()
        }
        self._outputs.topics = tuple(each.spec.topic for each in members.values())
        for name, (spec, take) in self._info_specs.items():
            kind = self._kinds.get(name, "")
            members[name] = AdaptiveSubscription(self._node, spec, take, kind)
        between_messages = (lambda: False) if self._has_worker else self._work_between_messages
        self._subscriptions = Subscriptions(self._node, members, self._on_error, between_messages)

    def stop(self) -> None:
        """Unsubscribe; messages already received are still added."""
        if self._subscriptions is not None:
            self._subscriptions.stop()
            self._kinds = {name: each.kind for name, each in self._subscriptions}
            self._subscriptions = None
        self._intake.stop()

    def follow(self, late_s: float) -> bool:
        """Adapt to who publishes now, and warn of topics that nobody publishes for so long.

        Call it every so often.

        Returns:
            Whether all topics are published.
        """
        subscriptions = self._subscriptions
        if subscriptions is None:
            return False
        subscriptions.follow_publishers()
        self._follow_pace(subscriptions)
        self._give_up_depth(subscriptions)
        for _, each in subscriptions:
            if (
                each.unpublished_s > late_s
                and self._throttle.admit(each.spec.topic) is not None
                and each.should_warn()
            ):
                self._warn(each.missing())
        return all(each.publishers for _, each in subscriptions)

    def missing(self, late_s: float) -> list[str]:
        """Return a line for each topic that nobody has published for so long."""
        return [
            each.missing() for _, each in self._subscriptions or () if each.unpublished_s > late_s
        ]

    def describe(self) -> dict[str, str]:
        """Return how each topic is subscribed, for people."""
        return {f"{name} input": each.describe() for name, each in self._subscriptions or ()}

    def check_names(self) -> str:
        """Let nothing wait too long for names; call it now and then. Returns what is doubtful."""
        return "" if self._subscriptions is None else self._label_info.tick()

    def _work_between_messages(self) -> bool:
        """Score one batch in the thread that receives, and return whether more waits."""
        self._pipeline.work(0.0)
        return len(self._pipeline.queue) > 0

    def _after_message(self) -> None:
        """Find out who paces itself by the account, and make room before more is received."""
        if self._outputs.wants_accounts:
            self._outputs.account(self._pipeline.run.snapshot())
        if self._has_worker:
            self._pipeline.queue.wait_for_room()
            return
        while self._pipeline.queue.crowded:
            self._pipeline.work(0.0)

    def _follow_pace(self, subscriptions: Subscriptions) -> None:
        """Drop no frame while the publisher paces itself by our account; log when that changes."""
        listeners = self._outputs.account_listeners()
        paced = any(not listeners.isdisjoint(each.publishers) for _, each in subscriptions)
        if paced != self._outputs.paced:
            self._node.get_logger().info(
                "a paced replay is publishing: it waits while the queue is full, so none is dropped"
                if paced
                else "no paced replay is publishing any more: overflow is "
                f"{self._settings.overflow}"
            )
        self._pipeline.queue.pace(on=paced)
        self._outputs.paced = paced

    def _give_up_depth(self, subscriptions: Subscriptions) -> None:
        """Let no pair wait for long for a depth image that may never come.

        A paced replay ends with a flush: until then nothing depends on how long anything takes.
        """
        depth = dict(subscriptions).get(DEPTH)
        if depth is not None and not (self._outputs.paced and depth.publishers):
            self._pipeline.give_up_depth(_DEPTH_WAIT_S)

    def _warn(self, text: str) -> None:
        self._node.get_logger().warning(text)
