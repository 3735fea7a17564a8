"""The node ``miou_foxglove``: serves the topics of the graph to viewers such as Foxglove."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou.errors import FrameError
from deeplab_miou.nodes.foxglove.topics import (
    Relay,
    TooLargeError,
    matching_profile,
    shown_type,
)
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.nodes.ros.message_types import message_class
from deeplab_miou.options.foxglove import FoxgloveOptions
from deeplab_miou.resources import share_directory
from deeplab_miou.telemetry import Throttle
from deeplab_miou.text import printable
from deeplab_miou.watch.foxglove_server import FoxgloveServer
from deeplab_miou.watch.message_definitions import full_definition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.qos import QoSProfile
    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

_PERIOD_S = 0.1
_GRAPH_PERIOD_S = 1.0
_MOST_TOPICS = 1000
# Looks at the graph in which nobody publishes a topic before it is taken from the lists: on a busy
# machine discovery loses a publisher for a moment.
_PATIENCE = 3
# foxglove-sdk 0.30 offers a topic to those who are connected a moment before it takes their
# subscriptions: 2 of 60 of Foxglove's were refused on a busy machine, and viewers do not ask again.
# So what nobody watches is offered anew, so many times.
_REPEATS = 2


class MiouFoxglove(ManagedNode[FoxgloveOptions]):
    """Offers every topic whose definition is installed, and subscribes to those watched."""

    def __init__(self) -> None:
        super().__init__("miou_foxglove", FoxgloveOptions)
        self._server: FoxgloveServer | None = None
        self._has_news = threading.Event()
        self._graph_s = -_GRAPH_PERIOD_S
        self._relays: dict[str, Relay] = {}
        self._subscriptions_of: dict[str, tuple[Subscription, QoSProfile]] = {}
        self._undefined: set[str] = set()
        self._timer: Timer | None = None
        self._throttle = Throttle()

    # Transitions.

    def configure(self) -> None:
        """Serve."""
        server = FoxgloveServer(self._has_news.set)
        address = server.start(self.settings.host, self.settings.port)
        self._server = server
        folder = share_directory() / "config"
        self.get_logger().info(
            f"connect Foxglove to {address}; layouts to import are in {folder}: "
            "foxglove_layout.json, or foxglove_comparison_layout.json for two networks"
        )

    def activate(self) -> None:
        """Offer topics."""
        self._graph_s = -_GRAPH_PERIOD_S
        self._timer = self.create_steady_timer(_PERIOD_S, self._follow)

    def deactivate(self) -> None:
        """Unsubscribe, and take all topics from the viewers' lists."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        for topic in list(self._subscriptions_of):
            self._unsubscribe(topic)
        while self._relays:
            self._relays.popitem()[1].channel.close()

    def cleanup(self) -> None:
        """Disconnect all viewers."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    # What is there, and who watches it.

    def _follow(self) -> None:
        now_s = time.monotonic()
        is_due = now_s - self._graph_s >= _GRAPH_PERIOD_S
        if not is_due and not self._has_news.is_set():
            return
        self._has_news.clear()
        if self._server is None:
            return
        watchers, newcomers = self._server.watchers.read()
        watched = {watcher.channel for watcher in watchers}
        if is_due:
            self._graph_s = now_s
            self._follow_graph(watched)
        for topic, relay in self._relays.items():
            if relay.channel.number in watched:
                self._subscribe(topic, relay)
                for watcher in newcomers:
                    if watcher.channel == relay.channel.number:
                        relay.repeat(watcher.client)
            else:
                self._unsubscribe(topic)

    def _follow_graph(self, watched: set[int]) -> None:
        """Offer what is published; what is watched stays, so that a publisher may come back."""
        published = {
            topic: types[0]
            for topic, types in self.get_topic_names_and_types()
            if len(types) == 1 and self.count_publishers(topic)
        }
        for topic, relay in list(self._relays.items()):
            kind = published.get(topic, relay.type_name)
            is_idle = topic not in published and relay.channel.number not in watched
            relay.idle_looks = relay.idle_looks + 1 if is_idle else 0
            if relay.idle_looks >= _PATIENCE or kind != relay.type_name:
                self._unsubscribe(topic)
                self._relays.pop(topic).channel.close()
        for topic, relay in list(self._relays.items()):
            if relay.channel.number in watched:
                relay.repeats = 0
            elif relay.repeats and topic in published:
                self._unsubscribe(topic)
                self._relays.pop(topic).channel.close()
                self._offer(topic, relay.type_name, relay.repeats - 1)
        for topic, kind in published.items():
            if topic not in self._relays and len(self._relays) < _MOST_TOPICS:
                self._offer(topic, kind, _REPEATS)

    def _offer(self, topic: str, kind: str, repeats: int) -> None:
        if self._server is None or kind in self._undefined:
            return
        definition = full_definition(shown_type(kind))
        if definition is None or message_class(kind) is None:
            if len(self._undefined) < _MOST_TOPICS:
                self._undefined.add(kind)
                self.get_logger().info(
                    f"topic {printable(topic)} is not offered: {printable(kind)} is not installed"
                )
            return
        channel = self._server.add(topic, shown_type(kind), definition)
        self._relays[topic] = Relay(kind, channel, 1 / self.settings.picture_rate, repeats)

    def _subscribe(self, topic: str, relay: Relay) -> None:
        """Subscribe as the publishers of now need it; without one, leave it as it is."""
        offers = self.get_publishers_info_by_topic(topic)
        current = self._subscriptions_of.get(topic)
        if not offers:
            return
        profile = matching_profile(relay.type_name, offers)
        if current is not None and current[1] == profile:
            return
        self._unsubscribe(topic)
        relay.begin(profile, len(offers))
        subscription = self.create_subscription(
            message_class(relay.type_name), topic, self._taking(topic, relay), profile, raw=True
        )
        self._subscriptions_of[topic] = (subscription, profile)

    def _taking(self, topic: str, relay: Relay) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            try:
                relay.take(data)
            except (FrameError, TooLargeError) as error:
                if self._throttle.admit(topic) is not None:
                    self.get_logger().warning(f"a message on {topic} is not shown: {error}")

        return self.guarded(take)

    def _unsubscribe(self, topic: str) -> None:
        if topic in self._subscriptions_of:
            self.destroy_subscription(self._subscriptions_of.pop(topic)[0])


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    process.main_alone(
        "miou_foxglove",
        MiouFoxglove,
        "Serve the topics of the graph to Foxglove.",
        args,
    )
