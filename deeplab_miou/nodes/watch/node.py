"""The node ``miou_watch``: listens to a publisher and its evaluators, and serves a page."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Comparison, ConfusionMatrix, MeanIoU
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_full_topic_name import validate_full_topic_name
from sensor_msgs.msg import Image

from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.nodes.ros.conversions import raw_image, state_from_message
from deeplab_miou.nodes.ros.node_names import qualified
from deeplab_miou.nodes.watch.contents import (
    account_content,
    comparison_content,
    confusion_content,
    scores_content,
    status_content,
)
from deeplab_miou.options.nodes import WatchOptions
from deeplab_miou.telemetry import Throttle
from deeplab_miou.watch.board import Board
from deeplab_miou.watch.history import History, Point
from deeplab_miou.watch.overlay import Overlay
from deeplab_miou.watch.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# As the publisher: one latched state of each evaluator that shares the topic.
_STATES = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_PICTURES = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_PERIOD_S = 0.5


class MiouWatch(ManagedNode[WatchOptions]):
    """Shows what a publisher, its evaluators and a replayer say; all else is in `watch`.

    The matrix is that of the evaluators which the publisher names as its sources.
    """

    def __init__(self) -> None:
        super().__init__("miou_watch", WatchOptions)
        self._board = Board()
        self._results, self._windows = History(), History()
        self._overlay = Overlay()
        self._server: Server | None = None
        self._aggregate = Aggregate()
        self._has_news = threading.Event()
        self._is_open = False
        self._sources: tuple[str, ...] = ()
        self._statuses: dict[str, dict[str, object]] = {}
        self._fixed: list[Subscription] = []
        self._of_sources: dict[str, Subscription] = {}
        self._of_overlay: Subscription | None = None
        self._timer: Timer | None = None
        self._throttle = Throttle()

    # Transitions.

    def configure(self) -> None:
        """Serve the page."""
        self._board, self._overlay = Board(), Overlay()
        self._results, self._windows = History(), History()
        self._aggregate = Aggregate()
        self._statuses, self._sources = {}, ()
        histories = {"result": self._results, "window": self._windows}
        self._server = Server(self._board, histories, self._overlay)
        try:
            address = self._server.start(self.settings.host, self.settings.port)
        except Exception:
            self._server = None
            raise
        self.get_logger().info(f"watch the score at {address}")

    def activate(self) -> None:
        """Subscribe."""
        publisher = self._named(self.settings.publisher)
        self._fixed = [
            self._subscribe(MeanIoU, f"{publisher}/result", self._on_result, _LATCHED),
            self._subscribe(MeanIoU, f"{publisher}/window", self._on_window, _LATCHED),
            self._subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50),
            self._subscribe(
                Comparison,
                f"{self._named(self.settings.comparer)}/comparison",
                lambda message: self._board.put("comparison", comparison_content(message)),
                _LATCHED,
            ),
        ]
        self._timer = self.create_steady_timer(_PERIOD_S, self._follow)

    def deactivate(self) -> None:
        """Unsubscribe; the page stays as it is."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        self._unsubscribe_overlay()
        while self._of_sources:
            self.destroy_subscription(self._of_sources.popitem()[1])
        while self._fixed:
            self.destroy_subscription(self._fixed.pop())

    def cleanup(self) -> None:
        """End the page."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _named(self, name: str) -> str:
        return qualified(self.get_namespace(), name)

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

    # What comes.

    def _on_result(self, message: MeanIoU) -> None:
        now_s = time.time()
        content, account = scores_content(message, now_s), account_content(message)
        values = [
            message.miou,
            message.miou_lower,
            message.miou_upper,
            message.miou_anytime_lower,
            message.miou_anytime_upper,
        ]
        self._results.add(Point(now_s, message.frames, tuple(values)))
        self._sources = tuple(message.sources)
        self._board.put("result", content)
        self._board.put("account", account)

    def _on_window(self, message: MeanIoU) -> None:
        now_s = time.time()
        content = scores_content(message, now_s)
        self._windows.add(Point(now_s, message.frames, (message.miou,)))
        self._board.put("window", content)

    def _on_state(self, message: ConfusionMatrix) -> None:
        self._aggregate.add_state(state_from_message(message), time.monotonic())
        self._has_news.set()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        settings = self.settings
        shown = {self._named(settings.publisher), self._named(settings.replayer), *self._sources}
        for status in message.status:
            node, _, part = status.name.partition(": ")
            if node in shown and part:
                # Two of a node at most, so that there are never more than twice as many as nodes.
                key = status.name if part == "criteria" else node
                self._statuses[key] = status_content(status, time.time())
                self._has_news.set()

    def _on_overlay(self, message: Image) -> None:
        if self._overlay.is_due:
            self._overlay.show(decode_color(raw_image(message)))

    def _follow(self) -> None:
        """Listen to the evaluators that are scored, and show what they have said meanwhile."""
        if self._server is not None and self._server.watchers and not self._is_open:
            self._is_open = True
            self.get_logger().info("the page is open")
        self._follow_sources()
        self._follow_overlay()
        if not self._has_news.is_set():
            return
        self._has_news.clear()
        totals = self._aggregate.totals(time.monotonic())
        if totals.class_names:
            self._board.put("confusion", confusion_content(totals))
        self._board.put("nodes", list(self._statuses.values()))

    def _follow_sources(self) -> None:
        sources = [source for source in self._sources if _is_node_name(source)]
        for source in self._of_sources.keys() - set(sources):
            self.destroy_subscription(self._of_sources.pop(source))
        for source in sources:
            if source not in self._of_sources:
                self._of_sources[source] = self._subscribe(
                    ConfusionMatrix, f"{source}/confusion", self._on_state, _STATES
                )

    def _follow_overlay(self) -> None:
        """Subscribe to the first evaluator's overlay while somebody looks at it."""
        source = next(iter(self._of_sources), "")
        topic = f"{source}/overlay" if source and self._overlay.is_wanted else ""
        if self._of_overlay is not None and self._of_overlay.topic_name != topic:
            self._unsubscribe_overlay()
        if topic and self._of_overlay is None:
            self._of_overlay = self._subscribe(Image, topic, self._on_overlay, _PICTURES)

    def _unsubscribe_overlay(self) -> None:
        if self._of_overlay is not None:
            self.destroy_subscription(self._of_overlay)
            self._of_overlay = None


def _is_node_name(name: str) -> bool:
    """Tell whether a name that came in a message is one to make topics of."""
    try:
        validate_full_topic_name(name)
    except InvalidTopicNameException:
        return False
    return True


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    process.main(MiouWatch, args)
