"""The subscriptions of an evaluator: to which topics, and the thread that receives them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.nodes.evaluator.accepted_types import camera_types, label_info_types, label_types
from deeplab_miou.nodes.evaluator.adaptive_subscription import SubscriptionSpec
from deeplab_miou.nodes.ros.qos import AUTO
from deeplab_miou.nodes.ros.receiver import Receiver, receive
from deeplab_miou.nodes.ros.topic_names import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rclpy.node import Node

    from deeplab_miou.nodes.evaluator.adaptive_subscription import AdaptiveSubscription
    from deeplab_miou.options.evaluator import EvaluatorOptions

# Besides the streams that are paired and counted.
DEPTH = "depth"


class Subscriptions:
    """Several adaptive subscriptions, received by one thread.

    Args:
        node: the node that subscribes.
        members: the subscriptions by what they are called: the name of their stream, for
            example.
        on_error: called with an exception of a callback, from the thread that receives.
        between_messages: work for the thread that receives, see `receive`.
    """

    def __init__(
        self,
        node: Node,
        members: Mapping[str, AdaptiveSubscription],
        on_error: Callable[[BaseException], None],
        between_messages: Callable[[], bool],
    ) -> None:
        self._node = node
        self._members = dict(members)
        self._on_error = on_error
        self._between_messages = between_messages
        self._lock = threading.Lock()
        self._is_open = True
        self._receiver: Receiver | None = None

    def __iter__(self) -> Iterator[tuple[str, AdaptiveSubscription]]:
        return iter(self._members.items())

    def follow_publishers(self) -> None:
        """Look at who publishes and subscribe accordingly; call it every so often."""
        with self._lock:
            if not self._is_open:
                return
            changes = [
                (each, new) for each in self._members.values() if (new := each.changed_profile())
            ]
            if not changes:
                return
            self._stop_receiver()
            for each, profile in changes:
                each.subscribe(*profile)
            callbacks = {
                each.subscription: each.take
                for each in self._members.values()
                if each.subscription is not None
            }
            self._receiver = receive(
                self._node, callbacks, self._on_error, between_messages=self._between_messages
            )

    def stop(self) -> None:
        """Unsubscribe for good; messages already received are still passed on."""
        with self._lock:
            self._is_open = False
            self._stop_receiver()
            for each in self._members.values():
                each.unsubscribe()

    def _stop_receiver(self) -> None:
        if self._receiver is not None:
            self._receiver.stop()
            self._receiver = None


def stream_specs(node: Node, settings: EvaluatorOptions) -> dict[str, SubscriptionSpec]:
    """Return how to subscribe to images and labels, and to depth images if regions need them.

    Raises:
        ConfigurationError: a name is not a topic name.
    """
    specs = {
        Stream.IMAGE.value: SubscriptionSpec(
            topic=resolve(node, settings.image_topic, "image_topic"),
            reliability=settings.image_reliability,
            durability=settings.image_durability,
            depth=settings.input_depth,
            types=camera_types() if settings.source == "network" else label_types(),
        ),
        Stream.LABEL.value: SubscriptionSpec(
            topic=resolve(node, settings.label_topic, "label_topic"),
            reliability=settings.label_reliability,
            durability=settings.label_durability,
            depth=settings.input_depth,
            types=label_types(),
        ),
    }
    if settings.depth_topic:
        specs[DEPTH] = SubscriptionSpec(
            topic=resolve(node, settings.depth_topic, "depth_topic"),
            reliability=AUTO,
            durability=AUTO,
            depth=settings.input_depth,
            types=label_types(),
        )
    return specs


def label_info_spec(node: Node, settings: EvaluatorOptions, parameter: str) -> SubscriptionSpec:
    """Return how to subscribe to a topic that names ids, which a parameter gives.

    Raises:
        ConfigurationError: it is not a topic name.
    """
    return SubscriptionSpec(
        topic=resolve(node, getattr(settings, parameter), parameter),
        reliability=AUTO,
        durability=AUTO,
        depth=settings.input_depth,
        types=label_info_types(),
        is_state=True,
    )
