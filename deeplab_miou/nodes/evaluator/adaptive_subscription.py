"""A subscription that adapts to what is published: message type and quality of service."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.images.cdr import VIDEO_TYPES
from deeplab_miou.nodes.ros.distributions import SubscriptionEventCallbacks
from deeplab_miou.nodes.ros.node_names import node_of
from deeplab_miou.nodes.ros.qos import VOLATILE, matching
from deeplab_miou.nodes.ros.qos_events import describe_mismatch
from deeplab_miou.nodes.ros.receiver import receiving_group
from deeplab_miou.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from rclpy.subscription import Subscription

    from deeplab_miou.nodes.evaluator.accepted_types import AcceptedTypes
    from deeplab_miou.nodes.ros.distributions import TopicEndpointInfo


@dataclass(frozen=True)
class SubscriptionSpec:
    """What to subscribe to, and how.

    Attributes:
        topic: fully resolved name.
        reliability: ``auto`` (what the publishers offer), ``reliable`` or ``best_effort``.
        durability: ``auto``, ``volatile`` or ``transient_local``.
        depth: messages that the middleware keeps for us.
        types: what is received.
        is_state: only the newest message matters, so that latched ones may come again.
    """

    topic: str
    reliability: str
    durability: str
    depth: int
    types: AcceptedTypes
    is_state: bool = False


class AdaptiveSubscription:
    """One topic of images, labels or depth images.

    Nothing is subscribed until somebody publishes: only then the type and the quality of service
    are known. When the publishers change, the subscription follows. What is latched comes with the
    first subscription only: another one would get it again.

    Args:
        node: the node that subscribes.
        spec: what it subscribes to, and how.
        callback: takes type and bytes (CDR) of each message.
        kind: type to receive if it is published, such as that of an earlier one to the topic.

    Attributes:
        kind: type that is received, or was last.
        publishers: fully qualified names of the nodes that publish an accepted type, when last
            looked at; one for each publisher.
    """

    def __init__(
        self,
        node: Node,
        spec: SubscriptionSpec,
        callback: Callable[[str, memoryview | bytes], None],
        kind: str = "",
    ) -> None:
        self.spec = spec
        self.kind = kind
        self.subscription: Subscription | None = None
        self._node = node
        self._callback = callback
        self.take: Callable[[bytes], None] = functools.partial(callback, kind)
        self._profile: tuple[str, QoSProfile] | None = None
        self._published_s = time.monotonic()
        self._was_published = False
        self._told_of_end = False
        self.publishers: list[str] = []
        self._others: tuple[str, ...] = ()
        self._refused = ""
        self._lost = 0

    def changed_profile(self) -> tuple[str, QoSProfile] | None:
        """Return type and profile to subscribe with if the publishers now call for others.

        The type in use is kept as long as somebody publishes it, even if others appear.
        """
        found = self._node.get_publishers_info_by_topic(self.spec.topic)
        types = self.spec.types
        offers = {kind: [o for o in found if o.topic_type == kind] for kind in types.received}
        kind = next((each for each in (self.kind, *offers) if offers.get(each)), None)
        self._refused = next((o.topic_type for o in found if o.topic_type in types.refused), "")
        self.publishers = [] if kind is None else [node_of(offer) for offer in offers[kind]]
        if kind is None:
            return None
        self._published_s, self._was_published = time.monotonic(), True
        self._told_of_end = False
        others = [o for other, each in offers.items() if other != kind for o in each]
        self._tell_of_others(kind, tuple(sorted({printable(node_of(other)) for other in others})))
        profile = (kind, self._match(offers[kind], self.spec.durability))
        if profile != self._profile and kind == self.kind and not self.spec.is_state:
            profile = (kind, self._match(offers[kind], VOLATILE))
        return profile if profile != self._profile else None

    def subscribe(self, kind: str, qos: QoSProfile) -> None:
        """Subscribe, or subscribe again."""
        self.unsubscribe()
        # First, because events of the new subscription may come before it is returned.
        self._profile = (kind, qos)
        self.kind = kind
        self.take = functools.partial(self._callback, kind)
        # Serialised: what is no image is counted too, which the middleware else drops in silence.
        self.subscription = self._node.create_subscription(
            self.spec.types.received[kind],
            self.spec.topic,
            self.take,
            qos,
            raw=True,
            callback_group=receiving_group(self._node),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._warn_of_incompatible,
                message_lost=self._note_loss,
                use_default_callbacks=False,
            ),
        )
        self._node.get_logger().info(
            f"subscribed to {self.spec.topic}: {kind}, {qos.reliability.name.lower()}, "
            f"{qos.durability.name.lower()}"
        )

    def unsubscribe(self) -> None:
        """Receive nothing more."""
        if self.subscription is not None:
            self._node.destroy_subscription(self.subscription)
        self.subscription = None
        self._profile = None

    @property
    def unpublished_s(self) -> float:
        """Seconds since somebody published it, or since this was made; 0 if somebody does."""
        return 0.0 if self.publishers else time.monotonic() - self._published_s

    def should_warn(self) -> bool:
        """Return whether to say again that nobody publishes it: of an end, as a replay's, once."""
        again = not self._told_of_end
        self._told_of_end = self._was_published
        return again

    def describe(self) -> str:
        """Return the topic and how it is subscribed, for people."""
        profile = self._profile
        if profile is None:
            return f"{self.spec.topic}: nobody publishes"
        kind, qos = profile
        return (
            f"{self.spec.topic}: {kind}, {qos.reliability.name.lower()}, "
            f"{qos.durability.name.lower()}, "
            f"{plural(len(self.publishers), 'publisher')}, "
            f"{plural(self._lost, 'message')} lost in transport"
            + (f", not received from {', '.join(self._others)}" if self._others else "")
        )

    def missing(self) -> str:
        """Return one line that says what is not published, and what is instead."""
        types = self.spec.types
        if self._refused:
            is_video = self._refused in VIDEO_TYPES
            return (
                f"topic {self.spec.topic} is {'a video' if is_video else types.what} "
                f"({self._refused}), {types.refused[self._refused]}"
            )
        own = self._node.get_fully_qualified_name() + "/"
        images = sorted(
            name
            for name, kinds in self._node.get_topic_names_and_types()
            if any(kind in types.received for kind in kinds)
            and name != self.spec.topic
            and not name.startswith(own)
        )
        others = printable(", ".join(images)) if images else "no topic at all"
        since = f"{self.unpublished_s:.0f} s"
        return (
            f"topic {self.spec.topic}: "
            + (
                f"nobody has published {types.what} there for {since}"
                if self._was_published
                else f"nobody publishes {types.what} there after {since}"
            )
            + f"; {types.what} are published on: {others}"
        )

    def _match(self, offers: Sequence[TopicEndpointInfo], durability: str) -> QoSProfile:
        spec = self.spec
        return matching(offers, spec.depth, reliability=spec.reliability, durability=durability)

    def _tell_of_others(self, kind: str, others: tuple[str, ...]) -> None:
        if others and others != self._others:
            self._node.get_logger().warning(
                f"topic {self.spec.topic} has publishers of several types: {kind} is "
                f"received, messages from {', '.join(others)} are not"
            )
        self._others = others

    def _note_loss(self, event: object) -> None:
        self._lost += event.total_count_change  # type: ignore[attr-defined]

    def _warn_of_incompatible(self, event: object) -> None:
        if self._profile is not None:
            text = describe_mismatch(self._node, self.spec.topic, self._profile[1], event)
            self._node.get_logger().warning(f"{text}; set the parameter to auto")
