"""What ``miou_comparer`` receives from the two evaluators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from deeplab_miou.accounting import Reason
from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_ids
from deeplab_miou.nodes.ros.conversions import (
    frame_from_message,
    raw_image,
    state_from_message,
    time_to_ns,
)
from deeplab_miou.nodes.ros.qos_events import describe_mismatch
from deeplab_miou.nodes.ros.receiver import Receiver, receive, receiving_group
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from deeplab_miou.comparison.live import Duel

_STATES = QoSProfile(
    depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_FRAMES = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_PREDICTIONS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
# Nobody waits for a single outcome.
_LINGER_S = 0.02


class ComparerInputs:
    """Subscribes to two evaluators and adds what they say to a duel, in threads of its own.

    Args:
        node: the node that subscribes.
        duel: takes what comes.
        on_news: called when something has come.
        on_error: told of an exception that is no evaluator's fault.
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
        self._on_error = on_error
        self._throttle = Throttle()
        self._inputs: list[tuple[Receiver, Subscription]] = []

    def open(self, evaluators: Sequence[str], *, predictions: bool) -> None:
        """Subscribe to evaluators A and B, named in full.

        Args:
            evaluators: their names.
            predictions: whether to compare predictions too, which they then have to publish.
        """
        for which, name in enumerate(evaluators):
            self._subscribe(ConfusionMatrix, f"{name}/confusion", self._state(which), _STATES)
            self._subscribe(FrameScore, f"{name}/frame", self._frame(which), _FRAMES)
            if predictions:
                topic = f"{name}/prediction"
                self._subscribe(Image, topic, self._prediction(which), _PREDICTIONS)

    def close(self) -> None:
        """Unsubscribe; messages already received are still added."""
        while self._inputs:
            receiver, subscription = self._inputs.pop()
            receiver.stop()
            self._node.destroy_subscription(subscription)

    def _subscribe(
        self, kind: type, topic: str, take: Callable[[object], str], profile: QoSProfile
    ) -> None:
        def warn(event: object) -> None:
            self._node.get_logger().warning(describe_mismatch(self._node, topic, profile, event))

        def callback(message: object) -> None:
            try:
                line = take(message)
            except (RefusedError, FrameError) as error:
                if self._throttle.admit(f"{topic} {type(error).__name__}") is not None:
                    self._node.get_logger().warning(f"a message on {topic} is not used: {error}")
                return
            if line:
                self._node.get_logger().info(line)
            self._on_news()

        events = SubscriptionEventCallbacks(incompatible_qos=warn, use_default_callbacks=False)
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            profile,
            callback_group=receiving_group(self._node),
            event_callbacks=events,
        )
        receiver = receive(self._node, {subscription: callback}, self._on_error, linger_s=_LINGER_S)
        self._inputs.append((receiver, subscription))

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
