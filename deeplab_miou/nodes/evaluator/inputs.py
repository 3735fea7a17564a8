"""Subscriptions that adapt to what is published: message type and quality of service."""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensor_msgs.msg import CompressedImage, Image

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, RAW_TYPE, VIDEO_TYPES
from deeplab_miou.labels.messages import LABEL_INFO_TYPES
from deeplab_miou.nodes.ros.distributions import SubscriptionEventCallbacks
from deeplab_miou.nodes.ros.message_types import message_class
from deeplab_miou.nodes.ros.node_names import node_of
from deeplab_miou.nodes.ros.qos import matching
from deeplab_miou.nodes.ros.qos_events import describe_mismatch
from deeplab_miou.nodes.ros.receiver import Receiver, receive, receiving_group
from deeplab_miou.text import printable
from deeplab_miou.video.decoder import check_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from rclpy.subscription import Subscription


TYPES: dict[str, type] = {RAW_TYPE: Image, COMPRESSED_TYPE: CompressedImage}

# Beside the streams that are paired and counted.
DEPTH = "depth"


@dataclass(frozen=True)
class InputTypes:
    """Types of messages that an input receives.

    Attributes:
        received: their classes by name, the preferred first.
        refused: what others are that could be meant, and why they are not received, by name.
        what: what messages are, for people.
    """

    received: Mapping[str, type]
    refused: Mapping[str, str]
    what: str = "images"


def label_types() -> InputTypes:
    """Return the types that labels and predictions may have."""
    return InputTypes(
        TYPES,
        dict.fromkeys(VIDEO_TYPES, "which changes ids and colours: publish labels as images"),
    )


def camera_types() -> InputTypes:
    """Return the types that camera images may have, videos too where they can be received."""
    received, refused = dict(TYPES), {}
    for kind in VIDEO_TYPES:
        found = message_class(kind)
        package = kind.partition("/")[0]
        if found is None:
            refused[kind] = (
                f"and {package} is not installed here: apt install "
                f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
            )
            continue
        try:
            check_installed()
            received[kind] = found
        except ConfigurationError as error:
            refused[kind] = f"and {error}"
    return InputTypes(received, refused)


def label_info_types() -> InputTypes:
    """Return the types that messages which name ids may have; vision_msgs is optional."""
    found = {kind: message_class(kind) for kind in LABEL_INFO_TYPES}
    return InputTypes(
        {kind: each for kind, each in found.items() if each is not None},
        {
            kind: f"and {kind.partition('/')[0]} is not installed here: apt install "
            "ros-$ROS_DISTRO-vision-msgs"
            for kind, each in found.items()
            if each is None
        },
        "label info",
    )


@dataclass(frozen=True)
class InputOptions:
    """How to subscribe.

    Attributes:
        topic: fully resolved name.
        reliability: ``auto`` (what the publishers offer), ``reliable`` or ``best_effort``.
        durability: ``auto``, ``volatile`` or ``transient_local``.
        depth: messages that the middleware keeps for us.
        types: what is received.
    """

    topic: str
    reliability: str
    durability: str
    depth: int
    types: InputTypes


class Input:
    """One topic of images, labels or depth images.

    Nothing is subscribed until somebody publishes: only then the type and the quality of service
    are known. When the publishers change, the subscription follows.

    Args:
        node: the node that subscribes.
        options: how.
        callback: takes type and bytes (CDR) of each message.
        kind: type to receive if it is published, such as that of an earlier input of the topic.

    Attributes:
        kind: type that is received, or was last.
    """

    def __init__(
        self,
        node: Node,
        options: InputOptions,
        callback: Callable[[str, memoryview | bytes], None],
        kind: str = "",
    ) -> None:
        self.options = options
        self.kind = kind
        self.subscription: Subscription | None = None
        self._node = node
        self._callback = callback
        self.take: Callable[[bytes], None] = functools.partial(callback, kind)
        self._profile: tuple[str, QoSProfile] | None = None
        self._began_s = time.monotonic()
        self._publishers: list[str] = []
        self._others: tuple[str, ...] = ()
        self._refused = ""
        self._lost = 0

    def changed_profile(self) -> tuple[str, QoSProfile] | None:
        """Return type and profile to subscribe with if the publishers now call for others.

        The type in use stays as long as somebody publishes it, whoever else comes.
        """
        found = self._node.get_publishers_info_by_topic(self.options.topic)
        types = self.options.types
        offers = {kind: [o for o in found if o.topic_type == kind] for kind in types.received}
        kind = next((each for each in (self.kind, *offers) if offers.get(each)), None)
        self._refused = next((o.topic_type for o in found if o.topic_type in types.refused), "")
        self._publishers = [] if kind is None else [node_of(offer) for offer in offers[kind]]
        if kind is None:
            return None
        others = [o for other, each in offers.items() if other != kind for o in each]
        self._tell_of_others(kind, tuple(sorted({printable(node_of(other)) for other in others})))
        options = self.options
        qos = matching(
            offers[kind],
            options.depth,
            reliability=options.reliability,
            durability=options.durability,
        )
        profile = (kind, qos)
        return profile if profile != self._profile else None

    def subscribe(self, kind: str, qos: QoSProfile) -> None:
        """Subscribe, or subscribe anew."""
        self.unsubscribe()
        # First, because events of the new subscription may come before it is returned.
        self._profile = (kind, qos)
        self.kind = kind
        self.take = functools.partial(self._callback, kind)
        # Serialised: what is no image is counted too, which the middleware else drops in silence.
        self.subscription = self._node.create_subscription(
            self.options.types.received[kind],
            self.options.topic,
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
            f"subscribed to {self.options.topic}: {kind}, {qos.reliability.name.lower()}, "
            f"{qos.durability.name.lower()}"
        )

    def unsubscribe(self) -> None:
        """Receive nothing more."""
        if self.subscription is not None:
            self._node.destroy_subscription(self.subscription)
        self.subscription = None
        self._profile = None

    @property
    def publishers(self) -> int:
        """Publishers of an image type on the topic, when last looked at."""
        return len(self._publishers)

    @property
    def publisher_names(self) -> list[str]:
        """Fully qualified names of the nodes that these publishers belong to."""
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
            f"{qos.durability.name.lower()}, {self.publishers} publisher(s), "
            f"{self._lost} message(s) lost in transport"
            + (f", not received from {', '.join(self._others)}" if self._others else "")
        )

    def missing(self) -> str:
        """Return one line that says what is not published, and what is instead."""
        types = self.options.types
        if self._refused:
            is_video = self._refused in VIDEO_TYPES
            return (
                f"topic {self.options.topic} is {'a video' if is_video else types.what} "
                f"({self._refused}), {types.refused[self._refused]}"
            )
        own = self._node.get_fully_qualified_name() + "/"
        images = sorted(
            name
            for name, kinds in self._node.get_topic_names_and_types()
            if any(kind in types.received for kind in kinds)
            and name != self.options.topic
            and not name.startswith(own)
        )
        others = printable(", ".join(images)) if images else "no topic at all"
        return (
            f"topic {self.options.topic}: nobody publishes {types.what} there after "
            f"{self.age_s:.0f} s; {types.what} are published on: {others}"
        )

    def _tell_of_others(self, kind: str, others: tuple[str, ...]) -> None:
        if others and others != self._others:
            self._node.get_logger().warning(
                f"topic {self.options.topic} has publishers of several types: {kind} is "
                f"received, what comes from {', '.join(others)} is not"
            )
        self._others = others

    def _note_loss(self, event: object) -> None:
        self._lost += event.total_count_change  # type: ignore[attr-defined]

    def _warn_of_incompatible(self, event: object) -> None:
        if self._profile is not None:
            text = describe_mismatch(self._node, self.options.topic, self._profile[1], event)
            self._node.get_logger().warning(f"{text}; set the parameter to auto")


class Inputs:
    """The topics of an evaluator, received by one thread.

    Args:
        node: the node that subscribes.
        inputs: the topics by what they are called: the name of their stream, for example.
        on_error: told of an exception of a callback, from the thread that receives.
        between_messages: work for the thread that receives, see `receive`.
    """

    def __init__(
        self,
        node: Node,
        inputs: Mapping[str, Input],
        on_error: Callable[[BaseException], None],
        between_messages: Callable[[], bool],
    ) -> None:
        self._node = node
        self._inputs = dict(inputs)
        self._on_error = on_error
        self._between_messages = between_messages
        self._lock = threading.Lock()
        self._is_open = True
        self._receiver: Receiver | None = None

    def __iter__(self) -> Iterator[tuple[str, Input]]:
        return iter(self._inputs.items())

    def follow_publishers(self) -> None:
        """Look at who publishes and subscribe accordingly; call it every so often."""
        with self._lock:
            if not self._is_open:
                return
            changes = [
                (each, new) for each in self._inputs.values() if (new := each.changed_profile())
            ]
            if not changes:
                return
            self._stop_receiver()
            for each, profile in changes:
                each.subscribe(*profile)
            callbacks = {
                each.subscription: each.take
                for each in self._inputs.values()
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
            for each in self._inputs.values():
                each.unsubscribe()

    def _stop_receiver(self) -> None:
        if self._receiver is not None:
            self._receiver.stop()
            self._receiver = None
