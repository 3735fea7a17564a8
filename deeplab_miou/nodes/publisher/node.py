"""The node ``miou_publisher``: states of evaluators in, scores, pictures and a report out."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from std_srvs.srv import Trigger

from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.aggregation.results import Scoring, score
from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.nodes.publisher.inputs import PublisherInputs, resolve_topics
from deeplab_miou.nodes.publisher.outputs import PublisherOutputs
from deeplab_miou.nodes.publisher.recorder import PublisherRecorder
from deeplab_miou.nodes.publisher.status import PublisherStatus, criteria_status
from deeplab_miou.nodes.publisher.tags import TagInput, read_timeline
from deeplab_miou.nodes.ros.node_names import check_node_name
from deeplab_miou.nodes.ros.topic_names import resolve
from deeplab_miou.options.publisher import PublisherOptions
from deeplab_miou.report.criteria import read_criteria
from deeplab_miou.report.files import check_directory
from deeplab_miou.report.live import LiveRun, make_report, save_report
from deeplab_miou.report.wording import format_interval, format_score
from deeplab_miou.telemetry import Latencies, Throttle
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.service import Service
    from rclpy.timer import Timer

    from deeplab_miou.report.criteria import Criterion

_DIAGNOSTICS_PERIOD_S = 1.0
_HEADLINE_PERIOD_S = 10.0
_DOUBTS_PERIOD_S = 60.0
_TAGS_PERIOD_S = 0.2
# A report waits so long for outcomes of frames that are on their way.
_FRAMES_TIMEOUT_S = 1.0


class MiouPublisher(ManagedNode[PublisherOptions]):
    """Publishes the scores of one or more evaluators; all logic is in `aggregation`."""

    # `configure` makes these and `cleanup` takes them away: in between they are not there.
    _aggregate: Aggregate
    _outputs: PublisherOutputs

    def __init__(self, name: str = "miou_publisher") -> None:
        super().__init__(name, PublisherOptions)
        self._status = PublisherStatus()
        self._changed = threading.Event()
        self._criteria: tuple[Criterion, ...] = ()
        self._latencies = Latencies()
        self._started_s = 0.0
        self._told_s = 0.0
        self._told_frames = 0
        self._doubts = Throttle(_DOUBTS_PERIOD_S)
        self._inputs: PublisherInputs | None = None
        self._tags: TagInput | None = None
        self._recorder: PublisherRecorder | None = None
        self._running_timers: list[Timer] = []
        self._result_timer: Timer | None = None
        self._own_services: list[Service] = []

    # Transitions.

    def configure(self) -> None:
        """Start from zero; make publishers and services."""
        settings = self.settings
        self._topics()
        if settings.tags_topic:
            resolve(self, settings.tags_topic, "tags_topic")
            check_node_name(self.get_namespace(), settings.replayer, "replayer")
        self._criteria = read_criteria(settings.criteria, differences=False, latencies=True)
        if settings.report_directory:
            check_directory(settings.report_directory)
        self._aggregate = Aggregate(
            window_frames=settings.window_frames or None,
            window_seconds=settings.window_seconds or None,
            block_s=settings.bootstrap_block_s,
            scoring=_scoring(settings),
            tags=read_timeline(settings),
            tags_are_complete=bool(settings.tags),
        )
        self._status = PublisherStatus()
        self._started_s = time.time()
        self._told_s, self._told_frames = time.monotonic(), 0
        self._outputs = PublisherOutputs(self)
        if settings.record:
            self._recorder = PublisherRecorder(self, settings.record, self.fail)
        self._own_services = [
            self.create_own_service(Trigger, "~/reset", self._reset, self.transition_group),
            self.create_report_service(self._write_report, self.transition_group),
        ]

    def activate(self) -> None:
        """Subscribe and publish."""
        self._inputs = PublisherInputs(
            self,
            self._aggregate,
            on_news=self._changed.set,
            on_error=self.fail,
            on_frame=None if self._recorder is None else self._recorder.frame,
        )
        self._latencies = self._inputs.latencies
        if self.settings.tags_topic:
            self._tags = TagInput(
                self,
                self.settings.tags_topic,
                self.settings.replayer,
                on_tag=self._tagged,
                on_error=self.fail,
            )
        states, frames = self._topics()
        self._inputs.open(states, frames)
        if self._recorder is not None:
            self._recorder.open([topic.rpartition("/")[0] for topic in states])
        self._changed.set()
        self._result_timer = self.create_steady_timer(
            self.settings.publish_period, self._publish, self.transition_group
        )
        self._running_timers = [
            self._result_timer,
            self.create_steady_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, self.transition_group),
        ]
        if self._tags is not None:
            self._tags.look()
            self._running_timers.append(
                self.create_steady_timer(_TAGS_PERIOD_S, self._tags.look, self.transition_group)
            )

    def deactivate(self) -> None:
        """Unsubscribe and publish what has been counted; counts are kept."""
        while self._running_timers:
            self.destroy_timer(self._running_timers.pop())
        self._result_timer = None
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._tags is not None:
            self._tags.close()
            self._tags = None
        if self._recorder is not None:
            self._recorder.close_inputs()
        if hasattr(self, "_outputs"):
            self._publish()

    def cleanup(self) -> None:
        """Forget all counts."""
        while self._own_services:
            self.destroy_service(self._own_services.pop())
        if self._recorder is not None:
            self._close_recording(self._recorder)
            self._recorder = None
        if hasattr(self, "_outputs"):
            self._outputs.destroy()
            del self._outputs
        if hasattr(self, "_aggregate"):
            del self._aggregate

    def finish(self) -> None:
        """Log the score and write the report."""
        totals = self._aggregate.totals(time.monotonic())
        if totals.counts.frames:
            self.get_logger().info(self._headline())
            self._log_doubts([*totals.doubts, *self._aggregate.tag_doubts])
        if not self.settings.save_report_on_shutdown or not self.settings.report_directory:
            return
        if totals.class_names:
            self.get_logger().info(self._write_report())
        else:
            self.get_logger().warning("nothing was counted, so no report is written")

    def may_stop(self) -> bool:
        """Wait for the last states of evaluators that end at the same time."""
        return self.state_label != "active" or not any(
            self.count_publishers(topic) for topic in self._topics()[0]
        )

    def settings_changed(self, settings: PublisherOptions) -> None:
        """Take over what can change while running."""
        if settings.report_directory not in ("", self.settings.report_directory):
            check_directory(settings.report_directory)
        self._aggregate.set_scoring(_scoring(settings))
        self._changed.set()
        is_new = settings.publish_period != self.settings.publish_period
        if is_new and self._result_timer is not None:
            self.change_period(self._result_timer, settings.publish_period)

    def _topics(self) -> tuple[list[str], list[str]]:
        settings = self.settings
        return resolve_topics(self, settings.confusion_topics, settings.frame_topics)

    # Timers.

    def _publish(self) -> None:
        if not self._changed.is_set():
            return
        self._changed.clear()
        now_s = time.monotonic()
        result, window = self._aggregate.result(now_s), self._aggregate.window(now_s)
        self._outputs.scores(result, window)
        if self._recorder is not None:
            self._recorder.scores(result, window)

    def _tagged(self, key: str, name: str, stamp_ns: int) -> None:
        if self._aggregate.add_tag(key, name, stamp_ns):
            self._changed.set()

    def _close_recording(self, recorder: PublisherRecorder) -> None:
        if hasattr(self, "_aggregate"):
            now_s = time.monotonic()
            result, window = self._aggregate.result(now_s), self._aggregate.window(now_s)
            recorder.scores(result, window, is_last=True)
        recorder.close()
        if not recorder.problem:
            self.get_logger().info(f"recorded {self.settings.record}")

    def _diagnose(self) -> None:
        now_s = time.monotonic()
        if self._inputs is None:
            return
        silence = self._inputs.silence(self.settings.startup_timeout)
        totals = self._aggregate.totals(now_s)
        status = self._status.report(
            totals,
            score(totals.counts.matrix, self._aggregate.scoring).miou
            if totals.counts.frames
            else math.nan,
            self._aggregate.ages(now_s),
            self._aggregate.refused,
            silence,
            tag_doubts=self._aggregate.tag_doubts,
        )
        self._outputs.diagnostics.publish(status)
        if self._criteria and totals.counts.frames:
            report = make_report(
                self._aggregate.result(now_s), self._aggregate.window(now_s), self._facts()
            )
            self._outputs.criteria.publish(criteria_status(report.criteria))
        if totals.counts.frames != self._told_frames and now_s - self._told_s >= _HEADLINE_PERIOD_S:
            self._told_frames, self._told_s = totals.counts.frames, now_s
            self.get_logger().info(self._headline())
            doubts = [*totals.doubts, *self._aggregate.tag_doubts]
            if doubts and self._doubts.admit("doubts") is not None:
                self._log_doubts(doubts)

    def _headline(self) -> str:
        result = self._aggregate.result(time.monotonic())
        parts = ["mIoU", format_score(result.scores.miou), format_interval(*result.miou_interval)]
        return " ".join(
            filter(None, [*parts, f"over {plural(result.totals.counts.frames, 'frame')}"])
        )

    def _log_doubts(self, doubts: Sequence[str]) -> None:
        for doubt in doubts:
            self.get_logger().warning(f"doubtful: {doubt}")

    # Services.

    def _reset(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        frames = self._aggregate.totals(time.monotonic()).counts.frames
        self._aggregate.reset()
        self._changed.set()
        response.success = True
        response.message = f"{plural(frames, 'frame')} forgotten"
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _write_report(self) -> str:
        """Write the report and say where."""
        directory = self.settings.report_directory
        if not directory:
            raise ConfigurationError("no report: parameter report_directory is not set")
        aggregate = self._aggregate
        if self._inputs is not None:
            aggregate.wait_for_frames(_FRAMES_TIMEOUT_S)
        now_s = time.monotonic()
        result, window = aggregate.result(now_s), aggregate.window(now_s)
        try:
            path = save_report(directory, result, window, self._facts())
        except DeeplabMiouError as error:
            self._status.report_error = str(error) if result.totals.class_names else ""
            raise
        self._status.report_error = ""
        return f"report written to {path}"

    def _facts(self) -> LiveRun:
        aggregate = self._aggregate
        return LiveRun(
            aggregate.provenance(),
            aggregate.refused,
            aggregate.scoring,
            self._started_s,
            self._criteria,
            self._latencies.quantiles().p95_s,
        )


def _scoring(settings: PublisherOptions) -> Scoring:
    return Scoring(settings.absent_classes, settings.class_weights)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    process.main_alone(
        "miou_publisher",
        MiouPublisher,
        "Add up what evaluators count and publish IoU and mIoU with intervals; write reports.",
        args,
    )
