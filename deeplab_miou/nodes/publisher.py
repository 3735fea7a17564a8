"""The node ``miou_publisher``: states of evaluators in, scores, pictures and a report out."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, MeanIoU
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from deeplab_miou.aggregation.aggregate import Aggregate, News
from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.aggregation.results import Scoring
from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.live_report import LiveRun, check_directory, save_report
from deeplab_miou.matrix_picture import draw_matrix
from deeplab_miou.nodes import process
from deeplab_miou.nodes.conversions import frame_from_message, image_to_message, state_from_message
from deeplab_miou.nodes.managed import ManagedNode
from deeplab_miou.nodes.publisher_parameters import PARAMETERS
from deeplab_miou.nodes.receiver import Receiver, Unexecuted
from deeplab_miou.nodes.result_messages import PublisherStatus, mean_iou_message
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.subscription import Subscription
    from rclpy.timer import Timer

_DIAGNOSTICS_PERIOD_S = 1.0
_STATE_TYPE = "deeplab_miou_msgs/msg/ConfusionMatrix"
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
# One latched state of each evaluator that shares the topic.
_STATES = QoSProfile(
    depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_FRAMES = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


class MiouPublisher(ManagedNode):
    """Publishes the scores of one or more evaluators; all logic is in `aggregation`."""

    def __init__(self) -> None:
        super().__init__("miou_publisher", PARAMETERS)
        self._aggregate: Aggregate | None = None
        self._status = PublisherStatus()
        self._throttle = Throttle()
        self._changed = threading.Event()
        self._active_since_s = 0.0
        self._started_s = 0.0
        self._inputs: list[tuple[Receiver, Subscription]] = []
        self._running_timers: list[Timer] = []
        self._result_timer: Timer | None = None
        self._own_publishers: list[object] = []
        self._own_services: list[object] = []

    # Transitions.

    def configure(self) -> None:
        """Start from zero; make publishers and services."""
        settings = self.settings
        self._topics()
        if settings["report_directory"]:
            check_directory(settings["report_directory"])
        self._aggregate = Aggregate(
            window_frames=settings["window_frames"] or None,
            window_seconds=settings["window_seconds"] or None,
            block_s=settings["bootstrap_block_s"],
            scoring=_scoring(settings),
        )
        self._status = PublisherStatus()
        self._started_s = time.time()
        self._results = self.create_publisher(MeanIoU, "~/result", _LATCHED)
        self._windows = self.create_publisher(MeanIoU, "~/window", _LATCHED)
        self._pictures = self.create_publisher(Image, "~/confusion_image", 1)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._own_publishers = [self._results, self._windows, self._pictures, self._diagnostics]
        self._own_services = [
            self.create_service(Trigger, name, callback, callback_group=self.transition_group)
            for name, callback in (("~/reset", self._reset), ("~/save_report", self._save_report))
        ]

    def activate(self) -> None:
        """Subscribe and publish."""
        self._active_since_s = time.monotonic()
        states, frames = self._topics()
        for topic in states:
            self._subscribe(ConfusionMatrix, topic, self._on_state, _STATES)
        for topic in frames:
            self._subscribe(FrameScore, topic, self._on_frame, _FRAMES)
        self._changed.set()
        self._result_timer = self.create_steady_timer(
            self.settings["publish_period"], self._publish, self.transition_group
        )
        self._running_timers = [
            self._result_timer,
            self.create_steady_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, self.transition_group),
        ]

    def deactivate(self) -> None:
        """Unsubscribe and publish what has been counted; counts are kept."""
        while self._running_timers:
            self.destroy_timer(self._running_timers.pop())
        self._result_timer = None
        while self._inputs:
            receiver, subscription = self._inputs.pop()
            receiver.stop()
            self.destroy_subscription(subscription)
        if self._aggregate is not None:
            self._publish()

    def cleanup(self) -> None:
        """Forget all counts."""
        while self._own_services:
            self.destroy_service(self._own_services.pop())
        while self._own_publishers:
            self.destroy_publisher(self._own_publishers.pop())
        self._aggregate = None

    def finish(self) -> None:
        """Write the report."""
        if not self.settings["save_report_on_shutdown"] or not self.settings["report_directory"]:
            return
        if self._aggregate.totals(time.monotonic()).class_names:
            self.get_logger().info(self._write_report())
        else:
            self.get_logger().warning("nothing was counted: no report is written")

    def may_stop(self) -> bool:
        """Wait for the last states of evaluators that end at the same time."""
        return self.state_label != "active" or not any(
            self.count_publishers(topic) for topic in self._topics()[0]
        )

    def settings_changed(self, changes: Mapping[str, object]) -> None:
        """Take over what can change while running."""
        if changes.get("report_directory"):
            check_directory(changes["report_directory"])
        if self._aggregate is not None:
            self._aggregate.set_scoring(_scoring({**self.settings, **changes}))
            self._changed.set()
        if "publish_period" in changes and self._result_timer is not None:
            self.change_period(self._result_timer, changes["publish_period"])

    # Inputs.

    def _topics(self) -> tuple[list[str], list[str]]:
        """Return the resolved topics of states and frames."""
        states = [self._resolve(topic) for topic in self.settings["confusion_topics"]]
        frames = [self._resolve(topic) for topic in self.settings["frame_topics"]]
        if not states:
            raise ConfigurationError(
                "parameter confusion_topics is empty, expected at least one topic"
            )
        if not frames:
            frames = [topic.rpartition("/")[0] + "/frame" for topic in states]
        return list(dict.fromkeys(states)), list(dict.fromkeys(frames))

    def _resolve(self, topic: str) -> str:
        try:
            return self.resolve_topic_name(topic)
        except Exception as error:  # noqa: BLE001  rclpy's name errors have no common base
            reason = " ".join(str(error).split())
            raise ConfigurationError(f"{topic!r} is no topic name: {reason}") from None

    def _subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[[object], None],
        profile: QoSProfile,
    ) -> None:
        def warn(event: object) -> None:
            policy = qos_policy_name_from_kind(QoSPolicyKind(event.last_policy_kind)).lower()
            offers = self.get_publishers_info_by_topic(topic)
            offered = sorted({getattr(o.qos_profile, policy).name.lower() for o in offers})
            self.get_logger().warning(
                f"topic {topic}: we request {policy} {getattr(profile, policy).name.lower()}, a "
                f"publisher offers {', '.join(offered) or 'less'}: its messages do not arrive"
            )

        events = SubscriptionEventCallbacks(incompatible_qos=warn, use_default_callbacks=False)
        subscription = self.create_subscription(
            kind, topic, callback, profile, callback_group=Unexecuted(), event_callbacks=events
        )
        # They arrive while results are computed, outcomes as fast as frames.
        self._inputs.append((Receiver(self, subscription, callback, self.fail), subscription))

    def _on_state(self, message: ConfusionMatrix) -> None:
        aggregate = self._aggregate
        if aggregate is None:
            return
        try:
            state = state_from_message(message)
        except RefusedError as error:
            aggregate.count_refused(error.kind)
            self._warn(error)
            return
        try:
            news = aggregate.add_state(state, time.monotonic())
        except RefusedError as error:
            self._warn(error)
            return
        if news:
            self._changed.set()
        if news is News.REPLACEMENT:
            self.get_logger().warning(
                f"{state.source} has another configuration (checkpoint, label map or "
                "the like): what it counted before is discarded"
            )

    def _on_frame(self, message: FrameScore) -> None:
        aggregate = self._aggregate
        if aggregate is None:
            return
        try:
            frame = frame_from_message(message)
        except RefusedError as error:
            aggregate.count_refused(error.kind)
            self._warn(error)
            return
        try:
            if aggregate.add_frame(frame):
                self._changed.set()
        except RefusedError as error:
            self._warn(error)

    def _warn(self, error: RefusedError) -> None:
        held_back = self._throttle.admit(error.kind)
        if held_back is not None:
            more = f" ({held_back} more like it since the last such line)" if held_back else ""
            self.get_logger().warning(f"{error}{more}")

    def _silence(self) -> str:
        """Return one line if no evaluator is heard though it should be."""
        waited_s = time.monotonic() - self._active_since_s
        if waited_s < self.settings["startup_timeout"] or self._aggregate.ages(0.0):
            return ""
        elsewhere = sorted(
            name
            for name, kinds in self.get_topic_names_and_types()
            if _STATE_TYPE in kinds and self.count_publishers(name)
        )
        return (
            f"no evaluator heard on {', '.join(self._topics()[0])} for {waited_s:.0f} s; "
            f"ConfusionMatrix is published on: {', '.join(elsewhere) or 'no topic at all'}"
        )

    # Outputs.

    def _publish(self) -> None:
        if not self._changed.is_set():
            return
        self._changed.clear()
        now_s = time.monotonic()
        result = self._aggregate.result(now_s)
        self._results.publish(mean_iou_message(result))
        self._windows.publish(mean_iou_message(self._aggregate.window(now_s)))
        totals = result.totals
        if totals.class_names and self._pictures.get_subscription_count():
            picture = draw_matrix(totals.matrix, totals.class_names)
            self._pictures.publish(image_to_message(picture, "rgb8", totals.stamp_ns, ""))

    def _diagnose(self) -> None:
        now_s = time.monotonic()
        silence = self._silence()
        if silence and self._throttle.admit("silence") is not None:
            self.get_logger().warning(silence)
        status = self._status.report(
            self._aggregate.totals(now_s),
            self._aggregate.ages(now_s),
            self._aggregate.refused,
            silence,
        )
        status.name = f"{self.get_fully_qualified_name()}: scores"
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    # Services.

    def _reset(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        frames = self._aggregate.totals(time.monotonic()).frames
        self._aggregate.reset()
        self._changed.set()
        response.success = True
        response.message = f"{frames} frames forgotten"
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _save_report(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = self._write_report()
            response.success = True
        except DeeplabMiouError as error:
            response.message = str(error)
            self.get_logger().error(response.message)
        return response

    def _write_report(self) -> str:
        """Write the report and say where."""
        directory = self.settings["report_directory"]
        if not directory:
            raise ConfigurationError("no report: parameter report_directory is not set")
        aggregate, now_s = self._aggregate, time.monotonic()
        result, window = aggregate.result(now_s), aggregate.window(now_s)
        facts = LiveRun(
            aggregate.provenance(), aggregate.refused, aggregate.scoring, self._started_s
        )
        try:
            path = save_report(directory, result, window, facts)
        except DeeplabMiouError as error:
            self._status.report_error = str(error) if result.scores else ""
            raise
        self._status.report_error = ""
        return f"report written to {path}"


def _scoring(settings: Mapping[str, object]) -> Scoring:
    return Scoring(settings["absent_classes"], tuple(settings["class_weights"]))


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    process.main(MiouPublisher, args)


if __name__ == "__main__":
    main()
