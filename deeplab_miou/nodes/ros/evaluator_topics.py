"""Subscriptions to what evaluators publish, each received by a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.errors import FrameError
from deeplab_miou.nodes.ros.distributions import SubscriptionEventCallbacks
from deeplab_miou.nodes.ros.qos_events import describe_mismatch
from deeplab_miou.nodes.ros.receiver import Receiver, receive, receiving_group
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.subscription import Subscription

# One latched state of each evaluator that shares the topic.
STATES = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
FRAMES = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
# Nobody waits for a single state or outcome, and the depth holds many times what comes meanwhile.
_LINGER_S = 0.02


class EvaluatorTopics:
    """Subscribes to topics of evaluators, and warns if a message cannot be used or received.

    Args:
        node: the node that subscribes.
        on_error: called with an exception that is not an evaluator's fault.
    """

    def __init__(self, node: Node, on_error: Callable[[BaseException], None]) -> None:
        self._node = node
        self._on_error = on_error
        self._throttle = Throttle()
        self._open: list[tuple[Receiver, Subscription]] = []

    def subscribe(
        self,
        kind: type,
        topic: str,
        take: Callable[[Any], object],
        profile: QoSProfile,
        *,
        linger_s: float = _LINGER_S,
    ) -> None:
        """Have each message of a topic taken.

        Args:
            kind: type of the messages.
            topic: resolved name.
            take: takes a message; raises RefusedError or FrameError if it cannot be used.
            profile: quality of service.
            linger_s: as of `receive`.
        """

        def warn(event: object) -> None:
            self._node.get_logger().warning(describe_mismatch(self._node, topic, profile, event))

        def callback(message: object) -> None:
            try:
                take(message)
            except RefusedError as error:
                self._warn(topic, error.kind, error)
            except FrameError as error:
                self._warn(topic, error.reason.value, error)

        events = SubscriptionEventCallbacks(incompatible_qos=warn, use_default_callbacks=False)
        subscription = self._node.create_subscription(
            kind,
            topic,
            callback,
            profile,
            callback_group=receiving_group(self._node),
            event_callbacks=events,
        )
        receiver = receive(self._node, {subscription: callback}, self._on_error, linger_s=linger_s)
        self._open.append((receiver, subscription))

    def close(self) -> None:
        """Unsubscribe; messages already received are still taken."""
        while self._open:
            receiver, subscription = self._open.pop()
            receiver.stop()
            self._node.destroy_subscription(subscription)

    def _warn(self, topic: str, kind: str, error: Exception) -> None:
        held_back = self._throttle.admit(kind)
        if held_back is not None:
            more = f" ({held_back} more like it since the last such line)" if held_back else ""
            text = f"a message on {topic} is not used: {error}{more}"
            self._node.get_logger().warning(text)
