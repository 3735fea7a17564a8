"""Subscriptions that adapt to what is published: message type and quality of service."""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from sensor_msgs.msg import CompressedImage, Image

from deeplab_miou.images.cdr import COMPRESSED_TYPE, RAW_TYPE
from deeplab_miou.nodes.qos_events import describe_mismatch
from deeplab_miou.nodes.receiver import Receiver, Unexecuted

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node
    from rclpy.subscription import Subscription
    from rclpy.topic_endpoint_info import TopicEndpointInfo

TYPES = {RAW_TYPE: Image, COMPRESSED_TYPE: CompressedImage}

_RELIABILITY = {
    "reliable": ReliabilityPolicy.RELIABLE,
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
}
_DURABILITY = {
    "volatile": DurabilityPolicy.VOLATILE,
    "transient_local": DurabilityPolicy.TRANSIENT_LOCAL,
}
AUTO = "auto"


@dataclass(frozen=True)
class InputOptions:
    """How to subscribe.

    Attributes:
        topic: fully resolved name.
        reliability: ``auto`` (what the publishers offer), ``reliable`` or ``best_effort``.
        durability: ``auto``, ``volatile`` or ``transient_local``.
        depth: messages that the middleware keeps for us.
    """

    topic: str
    reliability: str
    durability: str
    depth: int


class Input:
    """One image or label topic.

    Nothing is subscribed until somebody publishes: only then the type and the quality of service
    are known. When the publishers change, the subscription follows.

    Args:
        node: the node that subscribes.
        options: how.
        callback: takes type and bytes (CDR) of each message; calls for one input never overlap
            and keep their order.
        on_error: told of an exception of the callback, from the thread that receives.
    """

    def __init__(
        self,
        node: Node,
        options: InputOptions,
        callback: Callable[[str, memoryview | bytes], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.options = options
        self._node = node
        self._callback = callback
        self._on_error = on_error
        self._group = Unexecuted()
        self._lock = threading.Lock()
        self._subscription: Subscription | None = None
        self._receiver: Receiver | None = None
        self._profile: tuple[str, QoSProfile] | None = None
        self._began_s = time.monotonic()
        self._publishers = 0
        self._lost = 0

    def follow(self) -> None:
        """Look at who publishes and subscribe accordingly; call it every so often."""
        offers = [
            offer
            for offer in self._node.get_publishers_info_by_topic(self.options.topic)
            if offer.topic_type in TYPES
        ]
        with self._lock:
            self._publishers = len(offers)
            if not offers:
                return
            profile = (offers[0].topic_type, self._match(offers))
            if profile != self._profile:
                self._subscribe(*profile)

    def stop(self) -> None:
        """Unsubscribe."""
        with self._lock:
            self._unsubscribe()
            self._profile = None

    @property
    def publishers(self) -> int:
        """Publishers of an image type on the topic, as of the last look."""
        return self._publishers

    @property
    def lost(self) -> int:
        """Messages that the middleware says it lost before they reached us."""
        return self._lost

    @property
    def age_s(self) -> float:
        """Seconds since the input was made."""
        return time.monotonic() - self._began_s

    def describe(self) -> str:
        """Return the topic and how it is subscribed, for people."""
        profile = self._profile
        if profile is None:
            return f"{self.options.topic}: nobody publishes"
        kind, qos = profile
        return (
            f"{self.options.topic}: {kind}, {qos.reliability.name.lower()}, "
            f"{qos.durability.name.lower()}, {self._publishers} publisher(s), "
            f"{self._lost} message(s) lost in transport"
        )

    def missing(self) -> str:
        """Return one line that says what is not published, and what is instead."""
        own = self._node.get_fully_qualified_name() + "/"
        images = sorted(
            name
            for name, types in self._node.get_topic_names_and_types()
            if any(kind in TYPES for kind in types)
            and name != self.options.topic
            and not name.startswith(own)
        )
        others = ", ".join(images) if images else "no topic at all"
        return (
            f"topic {self.options.topic}: nobody publishes images there after "
            f"{self.age_s:.0f} s; images are published on: {others}"
        )

    def _match(self, offers: list[TopicEndpointInfo]) -> QoSProfile:
        # The weakest offer decides: a stronger request would silently lose that publisher.
        reliable = all(
            offer.qos_profile.reliability is ReliabilityPolicy.RELIABLE for offer in offers
        )
        latched = all(
            offer.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for offer in offers
        )
        reliability = self.options.reliability
        durability = self.options.durability
        if reliability == AUTO:
            reliability = "reliable" if reliable else "best_effort"
        if durability == AUTO:
            durability = "transient_local" if latched else "volatile"
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self.options.depth,
            reliability=_RELIABILITY[reliability],
            durability=_DURABILITY[durability],
        )

    def _subscribe(self, kind: str, qos: QoSProfile) -> None:
        self._unsubscribe()
        # First, because events of the new subscription may come before it is returned.
        self._profile = (kind, qos)
        receive = functools.partial(self._callback, kind)
        # Serialised: what is no image is counted too, which the middleware else drops in silence.
        self._subscription = self._node.create_subscription(
            TYPES[kind],
            self.options.topic,
            receive,
            qos,
            raw=True,
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._warn_of_incompatible,
                message_lost=self._note_loss,
                use_default_callbacks=False,
            ),
        )
        self._receiver = Receiver(self._node, self._subscription, receive, self._on_error)
        self._node.get_logger().info(
            f"subscribed to {self.options.topic}: {kind}, {qos.reliability.name.lower()}, "
            f"{qos.durability.name.lower()}"
        )

    def _unsubscribe(self) -> None:
        if self._receiver is not None:
            self._receiver.stop()
            self._node.destroy_subscription(self._subscription)
        self._receiver = None
        self._subscription = None

    def _note_loss(self, event: object) -> None:
        self._lost += event.total_count_change  # type: ignore[attr-defined]

    def _warn_of_incompatible(self, event: object) -> None:
        if self._profile is not None:
            text = describe_mismatch(self._node, self.options.topic, self._profile[1], event)
            self._node.get_logger().warning(f"{text}; set the parameter to auto")
