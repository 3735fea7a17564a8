"""The node ``miou_watch``: listens to a publisher and its evaluators, and serves a page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Comparison, ConfusionMatrix, FrameScore, MeanIoU
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.errors import FrameError
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.nodes.ros.node_names import check_node_name, is_node_name, qualified
from deeplab_miou.nodes.ros.qos import LATCHED
from deeplab_miou.nodes.watch.feed import PageFeed
from deeplab_miou.options.watch import WatchOptions
from deeplab_miou.telemetry import Throttle
from deeplab_miou.watch.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

# As the publisher: one latched state of each evaluator that shares the topic.
_STATES = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_PICTURES = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_FRAMES = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_PERIOD_S = 0.5


class MiouWatch(ManagedNode[WatchOptions]):
    """Shows what a publisher, its evaluators and a replayer say; all else is in `watch`.

    The matrix is that of the evaluators which the publisher names as its sources.
    """

    _feed: PageFeed  # `configure` makes it

    def __init__(self) -> None:
        super().__init__("miou_watch", WatchOptions)
        self._server: Server | None = None
        self._is_open = False
        self._fixed: list[Subscription] = []
        self._of_sources: dict[str, tuple[Subscription, ...]] = {}
        self._of_pictures: dict[str, Subscription] = {}
        self._timer: Timer | None = None
        self._throttle = Throttle()

    def configure(self) -> None:
        """Serve the page."""
        for option in ("publisher", "replayer", "comparer"):
            check_node_name(self.get_namespace(), getattr(self.settings, option), option)
        self._feed = feed = PageFeed(
            {self._named(self.settings.publisher), self._named(self.settings.replayer)}
        )
        self._server = Server(feed.board, feed.histories, feed.pictures, feed.worst)
        try:
            address = self._server.start(self.settings.host, self.settings.port)
        except Exception:
            self._server = None
            raise
        self.get_logger().info(f"watch the score at {address}")

    def activate(self) -> None:
        """Start following the nodes."""
        self._timer = self.create_steady_timer(_PERIOD_S, self._follow)

    def deactivate(self) -> None:
        """Unsubscribe; the page stays as it is."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        for name in list(self._of_pictures):
            self._unsubscribe_picture(name)
        while self._of_sources:
            self._unsubscribe_source(next(iter(self._of_sources)))
        while self._fixed:
            self.destroy_subscription(self._fixed.pop())

    def cleanup(self) -> None:
        """End the page."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _named(self, name: str) -> str:
        return qualified(self.get_namespace(), name)

    def _subscribe_all(self) -> None:
        """Subscribe; not during a transition, in which a message that comes once would be lost."""
        feed = self._feed
        publisher, comparer = map(self._named, (self.settings.publisher, self.settings.comparer))
        self._fixed = [
            self._subscribe(MeanIoU, f"{publisher}/result", feed.take_result, LATCHED),
            self._subscribe(MeanIoU, f"{publisher}/window", feed.take_window, LATCHED),
            self._subscribe(DiagnosticArray, "/diagnostics", feed.take_diagnostics, 50),
            self._subscribe(Comparison, f"{comparer}/comparison", feed.take_comparison, LATCHED),
        ]

    def _subscribe(
        self, kind: type, topic: str, take: Callable[[object], None], qos: QoSProfile | int
    ) -> Subscription:
        def callback(message: object) -> None:
            try:
                take(message)
            except (RefusedError, FrameError) as error:
                if self._throttle.admit(topic) is not None:
                    self.get_logger().warning(f"a message on {topic} is not shown: {error}")

        return self.create_subscription(kind, topic, self.guarded(callback), qos)

    def _follow(self) -> None:
        """Listen to the current evaluators, and show what has arrived since the last call."""
        if not self._fixed:
            self._subscribe_all()
        if self._server is not None and self._server.watchers and not self._is_open:
            self._is_open = True
            self.get_logger().info("the page is open")
        self._follow_sources()
        self._follow_pictures()
        self._feed.refresh()

    def _follow_sources(self) -> None:
        sources = [source for source in self._feed.sources if is_node_name(source)]
        for source in self._of_sources.keys() - set(sources):
            self._unsubscribe_source(source)
        for source in sources:
            if source not in self._of_sources:
                self._of_sources[source] = (
                    self._subscribe(
                        ConfusionMatrix, f"{source}/confusion", self._feed.take_state, _STATES
                    ),
                    self._subscribe(FrameScore, f"{source}/frame", self._feed.take_frame, _FRAMES),
                )

    def _unsubscribe_source(self, source: str) -> None:
        for subscription in self._of_sources.pop(source):
            self.destroy_subscription(subscription)

    def _follow_pictures(self) -> None:
        """Subscribe to the first evaluator's pictures while somebody looks at them."""
        source = next(iter(self._of_sources), "")
        for name, picture in self._feed.pictures.items():
            topic = f"{source}/{name}" if source and picture.is_wanted else ""
            current = self._of_pictures.get(name)
            if current is not None and current.topic_name != topic:
                self._unsubscribe_picture(name)
            if topic and name not in self._of_pictures:
                take = partial(self._feed.take_picture, name, source)
                self._of_pictures[name] = self._subscribe(Image, topic, take, _PICTURES)

    def _unsubscribe_picture(self, name: str) -> None:
        self.destroy_subscription(self._of_pictures.pop(name))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    process.main_alone(
        "miou_watch",
        MiouWatch,
        "Serve a web page on which to watch scores, pictures and counters.",
        args,
    )
