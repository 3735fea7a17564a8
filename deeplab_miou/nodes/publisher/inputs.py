"""What ``miou_publisher`` receives from evaluators: states and frame outcomes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore

from deeplab_miou.aggregation.aggregate import Aggregate, News
from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.nodes.ros.conversions import frame_from_message, state_from_message
from deeplab_miou.nodes.ros.evaluator_topics import FRAMES, STATES, EvaluatorTopics
from deeplab_miou.nodes.ros.topic_names import resolve
from deeplab_miou.telemetry import Latencies, Throttle
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node

_STATE_TYPE = "deeplab_miou_msgs/msg/ConfusionMatrix"


def resolve_topics(
    node: Node, states: Sequence[str], frames: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the topics of states and frames as parameters name them, resolved and once each.

    Args:
        node: the node that subscribes.
        states: the parameter `confusion_topics`.
        frames: the parameter `frame_topics`; if empty, those next to the states.

    Raises:
        ConfigurationError: there are no states, or a name is not a topic name.
    """
    states = [resolve(node, topic, "confusion_topics") for topic in states]
    frames = [resolve(node, topic, "frame_topics") for topic in frames]
    if not states:
        raise ConfigurationError("parameter confusion_topics is empty, expected at least one topic")
    if not frames:
        frames = [topic.rpartition("/")[0] + "/frame" for topic in states]
    return list(dict.fromkeys(states)), list(dict.fromkeys(frames))


class PublisherInputs:
    """Subscribes to evaluators and adds what they publish to an aggregate, in threads of its own.

    Args:
        node: the node that subscribes.
        aggregate: takes states and frames.
        on_news: called when the aggregate has changed.
        on_error: called with an exception that is not an evaluator's fault.
        on_frame: called with each well-formed frame outcome; None if not needed.

    Attributes:
        latencies: of the newest frames that were evaluated.
    """

    def __init__(
        self,
        node: Node,
        aggregate: Aggregate,
        *,
        on_news: Callable[[], None],
        on_error: Callable[[BaseException], None],
        on_frame: Callable[[FrameScore], None] | None = None,
    ) -> None:
        self._node = node
        self._aggregate = aggregate
        self._on_news = on_news
        self._frame_listener = on_frame
        self.latencies = Latencies()
        self._throttle = Throttle()
        self._states: Sequence[str] = ()
        self._since_s = 0.0
        self._topics = EvaluatorTopics(node, on_error)

    def open(self, states: Sequence[str], frames: Sequence[str]) -> None:
        """Subscribe to resolved topics of states, and of outcomes of frames."""
        self._states = states
        self._since_s = time.monotonic()
        for topic in states:
            self._topics.subscribe(ConfusionMatrix, topic, self._on_state, STATES)
        for topic in frames:
            self._topics.subscribe(FrameScore, topic, self._on_frame, FRAMES)

    def close(self) -> None:
        """Unsubscribe; messages already received are still added."""
        self._topics.close()

    def silence(self, after_s: float) -> str:
        """Return one line if no evaluator has been heard from for so long."""
        waited_s = time.monotonic() - self._since_s
        if waited_s < after_s or self._aggregate.ages(0.0):
            return ""
        elsewhere = sorted(
            name
            for name, kinds in self._node.get_topic_names_and_types()
            if _STATE_TYPE in kinds and self._node.count_publishers(name)
        )
        line = (
            f"no evaluator heard on {', '.join(self._states)} for {waited_s:.0f} s; "
            f"ConfusionMatrix is published on: "
            f"{printable(', '.join(elsewhere)) or 'no topic at all'}"
        )
        if self._throttle.admit("silence") is not None:
            self._node.get_logger().warning(line)
        return line

    def _on_state(self, message: ConfusionMatrix) -> None:
        try:
            state = state_from_message(message)
        except RefusedError as error:
            self._aggregate.count_refused(error.kind)
            raise
        news = self._aggregate.add_state(state, time.monotonic())
        if news:
            self._on_news()
        if news is News.REPLACEMENT:
            self._node.get_logger().warning(
                f"{state.source} has another configuration (checkpoint, label map or the like): "
                "what it counted before is discarded"
            )

    def _on_frame(self, message: FrameScore) -> None:
        try:
            frame = frame_from_message(message)
        except RefusedError as error:
            self._aggregate.count_refused(error.kind)
            raise
        if self._aggregate.add_frame(frame):
            if frame.evaluated:
                self.latencies.add(message.latency_seconds)
            self._on_news()
        if self._frame_listener is not None:
            self._frame_listener(message)
