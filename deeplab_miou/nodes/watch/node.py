"""The node ``miou_watch``: listens to a publisher and its evaluators, and serves a page."""

from __future__ import annotations

import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import Comparison, ConfusionMatrix, FrameScore, MeanIoU
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
from deeplab_miou.nodes.ros.conversions import (
    frame_from_message,
    raw_image,
    state_from_message,
    time_to_ns,
)
from deeplab_miou.nodes.ros.node_names import qualified
from deeplab_miou.nodes.ros.qos import LATCHED
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
from deeplab_miou.watch.worst import WorstMoments

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
_MOST_OVERLAYS = 4
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
        self._worst = WorstMoments()
        # An overlay may come before the outcome of its frame.
        self._newest_overlays: deque[tuple[str, Image]] = deque(maxlen=_MOST_OVERLAYS)
        self._server: Server | None = None
        self._aggregate = Aggregate()
        self._has_news = threading.Event()
        self._is_open = False
        self._sources: tuple[str, ...] = ()
        self._class_names: tuple[str, ...] = ()
        self._statuses: dict[str, dict[str, object]] = {}
        self._fixed: list[Subscription] = []
        self._of_sources: dict[str, tuple[Subscription, ...]] = {}
        self._of_overlay: Subscription | None = None
        self._timer: Timer | None = None
        self._throttle = Throttle()

    # Transitions.

    def configure(self) -> None:
        """Serve the page."""
        self._board, self._overlay, self._worst = Board(), Overlay(), WorstMoments()
        self._results, self._windows = History(), History()
        self._aggregate = Aggregate()
        self._statuses, self._sources, self._class_names = {}, (), ()
        histories = {"result": self._results, "window": self._windows}
        self._server = Server(self._board, histories, self._overlay, self._worst)
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
            self._subscribe(MeanIoU, f"{publisher}/result", self._on_result, LATCHED),
            self._subscribe(MeanIoU, f"{publisher}/window", self._on_window, LATCHED),
            self._subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50),
            self._subscribe(
                Comparison,
                f"{self._named(self.settings.comparer)}/comparison",
                lambda message: self._board.put("comparison", comparison_content(message)),
                LATCHED,
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

    def _on_frame(self, message: FrameScore) -> None:
        frame = frame_from_message(message)
        if not frame.evaluated or not (names := self._names_of_classes()):
            return
        run = (frame.run_id, frame.reset_count)
        self._worst.add(frame.matrix(len(names)), frame.stamp_ns, frame.source, run)
        self._has_news.set()
        for source, overlay in list(self._newest_overlays):
            self._keep_if_worst(source, overlay)

    def _names_of_classes(self) -> tuple[str, ...]:
        if not self._class_names:
            self._class_names = self._aggregate.totals(time.monotonic()).class_names
        return self._class_names

    def _on_overlay(self, source: str, message: Image) -> None:
        self._newest_overlays.append((source, message))
        self._keep_if_worst(source, message)
        if self._overlay.is_due:
            self._overlay.show(decode_color(raw_image(message)))

    def _keep_if_worst(self, source: str, message: Image) -> None:
        stamp_ns = time_to_ns(message.header.stamp)
        if self._worst.wants_picture(source, stamp_ns):
            self._worst.show(source, stamp_ns, decode_color(raw_image(message)))
            self._has_news.set()

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
        self._class_names = totals.class_names
        if totals.class_names:
            self._board.put("confusion", confusion_content(totals))
            self._board.put("worst", self._worst.content(totals.class_names))
        self._board.put("nodes", list(self._statuses.values()))

    def _follow_sources(self) -> None:
        sources = [source for source in self._sources if _is_node_name(source)]
        for source in self._of_sources.keys() - set(sources):
            self._unsubscribe_source(source)
        for source in sources:
            if source not in self._of_sources:
                self._of_sources[source] = (
                    self._subscribe(
                        ConfusionMatrix, f"{source}/confusion", self._on_state, _STATES
                    ),
                    self._subscribe(FrameScore, f"{source}/frame", self._on_frame, _FRAMES),
                )

    def _unsubscribe_source(self, source: str) -> None:
        for subscription in self._of_sources.pop(source):
            self.destroy_subscription(subscription)

    def _follow_overlay(self) -> None:
        """Subscribe to the first evaluator's overlay while somebody looks at it."""
        source = next(iter(self._of_sources), "")
        topic = f"{source}/overlay" if source and self._overlay.is_wanted else ""
        if self._of_overlay is not None and self._of_overlay.topic_name != topic:
            self._unsubscribe_overlay()
        if topic and self._of_overlay is None:
            self._of_overlay = self._subscribe(
                Image, topic, partial(self._on_overlay, source), _PICTURES
            )

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
    process.main(MiouWatch, args=args)
