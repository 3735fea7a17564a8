"""What ``miou_comparer`` receives from the two evaluators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_ids
from deeplab_miou.nodes.ros.conversions import (
    frame_from_message,
    raw_image,
    state_from_message,
    time_to_ns,
)
from deeplab_miou.nodes.ros.evaluator_topics import FRAMES, STATES, EvaluatorTopics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node

    from deeplab_miou.comparison.duel import Duel

_PREDICTIONS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


class ComparerInputs:
    """Subscribes to two evaluators and adds what they say to a duel, in threads of its own.

    Args:
        node: the node that subscribes.
        duel: takes what comes.
        on_news: called when something has come.
        on_error: called with an exception that is not an evaluator's fault.
    """

    def __init__(
        self,
        node: Node,
        duel: Duel,
        *,
        on_news: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._node = node
        self._duel = duel
        self._on_news = on_news
        self._topics = EvaluatorTopics(node, on_error)

    def open(self, evaluators: Sequence[str], *, predictions: bool) -> None:
        """Subscribe to evaluators A and B, named in full.

        Args:
            evaluators: their names.
            predictions: whether to compare predictions too, which they then have to publish.
        """
        for which, name in enumerate(evaluators):
            subscribe, heard = self._topics.subscribe, self._heard
            subscribe(ConfusionMatrix, f"{name}/confusion", heard(self._state(which)), STATES)
            subscribe(FrameScore, f"{name}/frame", heard(self._frame(which)), FRAMES)
            if predictions:
                topic = f"{name}/prediction"
                subscribe(Image, topic, heard(self._prediction(which)), _PREDICTIONS)

    def close(self) -> None:
        """Unsubscribe; messages already received are still added."""
        self._topics.close()

    def _heard(self, take: Callable[[Any], str]) -> Callable[[object], None]:
        """Return what takes a message, logs what that leads to, and signals that there is news."""

        def callback(message: object) -> None:
            line = take(message)
            if line:
                self._node.get_logger().info(line)
            self._on_news()

        return callback

    def _state(self, which: int) -> Callable[[ConfusionMatrix], str]:
        return lambda message: self._duel.add_state(which, state_from_message(message))

    def _frame(self, which: int) -> Callable[[FrameScore], str]:
        return lambda message: self._duel.add_frame(which, frame_from_message(message))

    def _prediction(self, which: int) -> Callable[[Image], str]:
        def take(message: Image) -> str:
            ids = decode_ids(raw_image(message))
            if ids.dtype != np.uint8:
                raise FrameError(
                    Reason.BAD_ENCODING,
                    f"it is {message.encoding!r}, expected mono8 as evaluators publish it",
                )
            self._duel.add_prediction(which, time_to_ns(message.header.stamp), ids.view(np.uint8))
            return ""

        return take
