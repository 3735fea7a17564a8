"""The node ``deeplab_evaluator``: images and labels in, confusion matrix and outcomes out."""

from __future__ import annotations

import gc
import sys
import uuid
from typing import TYPE_CHECKING

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from std_srvs.srv import SetBool, Trigger

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.engine import Engine, build_engine, make_legends
from deeplab_miou.evaluation.pipeline import ClockJump, Pipeline
from deeplab_miou.evaluation.run_state import RunState
from deeplab_miou.evaluation.unlabelled import Unlabelled
from deeplab_miou.evaluation.video_input import VideoInput
from deeplab_miou.evaluation.worker import Worker
from deeplab_miou.images.cdr import VIDEO_TYPES, read_image, read_stamp
from deeplab_miou.memory import keep_freed_memory, release_freed_memory
from deeplab_miou.nodes.evaluator.inputs import DEPTH, Input, Inputs
from deeplab_miou.nodes.evaluator.names import NamesHeard
from deeplab_miou.nodes.evaluator.outputs import EvaluatorOutputs
from deeplab_miou.nodes.evaluator.settings import (
    input_options,
    label_info_options,
    make_depth_pairer,
    make_pairer,
    make_queue,
)
from deeplab_miou.nodes.evaluator.status import (
    DropLog,
    EvaluatorStatus,
    UnknownLabelsLog,
    depth_values,
)
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.options.nodes import EvaluatorOptions
from deeplab_miou.regions.regions import check_depth
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.clock import JumpHandle
    from rclpy.service import Service
    from rclpy.timer import Timer

    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.outcomes import FrameOutcome

# Each turn of the executor costs as much as a small image, so that little is done by polling.
_FOLLOW_PERIOD_S = 0.1  # until both inputs are subscribed
_FOLLOW_CHANGES_PERIOD_S = 0.5  # from then on
_ACCOUNT_PERIOD_S = 0.05  # while somebody listens
_DIAGNOSTICS_PERIOD_S = 1.0
_FINDINGS_PERIOD_S = 60.0
_LAST_STATE_S = 0.5
_DEPTH_WAIT_S = 2.0
_SWITCH_INTERVAL_S = 0.0005


class DeeplabEvaluator(ManagedNode[EvaluatorOptions]):
    """Scores a network on a live stream; all logic is in `deeplab_miou.evaluation.pipeline`."""

    threads = 4  # transitions, states, slow services, the rest

    # `configure` makes these and `cleanup` takes them away: in between they are not there.
    _engine: Engine
    _legends: Legends
    _names: NamesHeard
    _pipeline: Pipeline
    _unlabelled: Unlabelled
    _outputs: EvaluatorOutputs
    _unknown_labels: UnknownLabelsLog

    def __init__(self, name: str = "deeplab_evaluator") -> None:
        super().__init__(name, EvaluatorOptions)
        self._run_id = uuid.uuid4().hex
        self._reset_count = 0
        self._worker: Worker | None = None
        self._inputs: Inputs | None = None
        self._video: VideoInput | None = None
        self._kinds: dict[str, str] = {}
        self._own_services: list[Service] = []
        self._periodic: list[Timer] = []
        self._state_timer: Timer | None = None
        self._jump_handle: JumpHandle | None = None
        self._status = EvaluatorStatus()
        self._throttle = Throttle()
        self._findings_log = Throttle(_FINDINGS_PERIOD_S)
        self._drops = DropLog({})
        self._paused = False
        # One at a time, so that an older state never overtakes a newer one.
        self._state_group = MutuallyExclusiveCallbackGroup()
        self._slow_group = MutuallyExclusiveCallbackGroup()

    def configure(self) -> None:
        """Load and warm up the network, make publishers and services."""
        options = self.settings
        self._engine = build_engine(options)
        check_depth(self._engine.regions, options.depth_topic)
        self._legends = make_legends(options, self._engine)
        self._pipeline = Pipeline(
            self._engine.predictor,
            self._engine.label_map,
            run=RunState(
                self._engine.label_map.num_classes,
                regions=len(self._engine.axes.regions),
                run_id=self._run_id,
                reset_count=self._reset_count,
            ),
            pairer=make_pairer(options),
            queue=make_queue(options),
            depth=make_depth_pairer(options) if options.depth_topic else None,
            batch_size=options.batch_size,
            regions=self._engine.regions,
            error_types=self._engine.error_types,
            score_at=options.score_at,
            on_clock_jump=ClockJump(options.on_clock_jump),
            wants_predictions=lambda: self._outputs.wants_pictures,
            on_outcome=self._on_outcome,
            legends=self._legends,
        )
        self._names = NamesHeard(self._legends, self._pipeline, self._warn)
        self._status = EvaluatorStatus(round(options.sync_tolerance * 1e9))
        self._findings_log = Throttle(_FINDINGS_PERIOD_S)
        self._kinds = {}
        self._drops = DropLog(
            {Stream.IMAGE: options.image_topic, Stream.LABEL: options.label_topic}
        )
        self._unknown_labels = UnknownLabelsLog(
            options.label_topic, self._engine.label_map, self._legends
        )
        self._paused = False
        self._outputs = EvaluatorOutputs(
            self, self._engine, run_id=self._run_id, is_camera=options.source == "network"
        )
        self._unlabelled = Unlabelled(
            self._engine.predictor,
            self._engine.label_map.ignore_index,
            on_prediction=self._outputs.pictures,
            on_failure=self._log_unpredicted,
        )
        group = self._slow_group
        self._own_services = [
            self.create_own_service(Trigger, "~/reset", self._reset, group),
            self.create_own_service(Trigger, "~/flush", self._flush, group),
            self.create_own_service(SetBool, "~/pause", self._pause, group),
        ]
        self.get_logger().info(self._engine.summary)
        # What was imported and loaded stays: the collector need not walk through it, over and
        # over, while frames are waiting.
        gc.collect()
        gc.freeze()

    def activate(self) -> None:
        """Subscribe and start to score."""
        pipeline = self._pipeline
        pipeline.interrupt(on=False)
        if self._engine.predictor.needs_worker:
            self._worker = Worker(self._work, self.fail)
            self._worker.start()
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=self.guarded(self._clock_jumped),
        )
        self._paused = False
        self._start_inputs()
        self._state_timer = self.create_steady_timer(
            self.settings.publish_period, self._publish_state, self._state_group
        )
        self._follow_timer = self.create_steady_timer(
            _FOLLOW_PERIOD_S, self._follow, self._slow_group
        )
        self._account_timer = self.create_steady_timer(
            _ACCOUNT_PERIOD_S, self._confirm_account, self._state_group
        )
        self._periodic = [
            self._follow_timer,
            self._account_timer,
            self._state_timer,
            self.create_steady_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, self._state_group),
        ]

    def interrupt(self) -> None:
        """Stop threads from waiting for room in the queue."""
        if hasattr(self, "_pipeline"):
            self._pipeline.interrupt(on=True)

    def deactivate(self) -> None:
        """Unsubscribe and finish the current frame; keep counts and waiting messages."""
        for timer in self._periodic:
            self.destroy_timer(timer)
        self._periodic = []
        self._state_timer = None
        if self._jump_handle is not None:
            self._jump_handle.unregister()
            self._jump_handle = None
        self._stop_inputs()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if hasattr(self, "_outputs"):
            self._pipeline.finish()
            self._publish_state()

    def cleanup(self) -> None:
        """Free the network; the next configuration starts from zero."""
        if hasattr(self, "_engine"):
            self._engine.close()
            del self._engine
        if hasattr(self, "_pipeline"):
            self._reset_count = self._pipeline.snapshot().reset_count + 1
            del self._pipeline
        if hasattr(self, "_outputs"):
            self._outputs.destroy()
            del self._outputs
        while self._own_services:
            self.destroy_service(self._own_services.pop())
        gc.unfreeze()
        release_freed_memory()

    def finish(self) -> None:
        """Say how it ended."""
        account = self._pipeline.account
        self.get_logger().info(
            f"{account.images.evaluated} frames evaluated of {account.images.received} images and "
            f"{account.labels.received} labels received"
        )

    def give_up(self) -> str:
        """Publish the counts without the frames in progress, which cannot be interrupted."""
        if self._state_timer is not None or not hasattr(self, "_outputs"):
            return ""
        self._publish_state()
        self._outputs.wait_for_readers(_LAST_STATE_S)
        return "frames being processed were dropped and not counted"

    def settings_changed(self, settings: EvaluatorOptions) -> None:
        """Take over what can change while running."""
        is_new = settings.publish_period != self.settings.publish_period
        if is_new and self._state_timer is not None:
            self.change_period(self._state_timer, settings.publish_period)

    # Inputs.

    def _start_inputs(self) -> None:
        inputs = {
            name: Input(
                self,
                options,
                self._depth_receiver() if name == DEPTH else self._receiver(Stream(name)),
                self._kinds.get(name, ""),
            )
            for name, options in input_options(self, self.settings).items()
        }
        self._outputs.topics = tuple(each.options.topic for each in inputs.values())
        for name, (topic, stream) in self._names.topics(self.settings).items():
            options = label_info_options(self, self.settings, topic)
            kind = self._kinds.get(name, "")
            inputs[name] = Input(self, options, self._names.receiver(stream), kind)
        between_messages = (
            (lambda: False) if self._worker is not None else self._work_between_messages
        )
        self._inputs = Inputs(self, inputs, self.fail, between_messages)

    def _stop_inputs(self) -> None:
        if self._inputs is not None:
            self._inputs.stop()
            self._kinds = {name: each.kind for name, each in self._inputs}
            self._inputs = None
        if self._video is not None:
            self._video.stop()
            self._video = None

    def _work_between_messages(self) -> bool:
        """Score one batch in the thread that receives, and tell whether more waits."""
        self._pipeline.work(0.0)
        return bool(self._pipeline.queued)

    def _receiver(self, stream: Stream) -> Callable[[str, memoryview | bytes], None]:
        pipeline = self._pipeline

        def receive(kind: str, data: memoryview | bytes) -> None:
            if kind in VIDEO_TYPES:
                self._receive_video(kind, bytes(data))
                return
            try:
                stamped = read_image(data, kind)
            except FrameError as error:
                stamp_ns = read_stamp(data)
                self._status.arrived(stream, stamp_ns)
                pipeline.reject(stream, stamp_ns or 0, "", error)
            else:
                self._status.arrived(stream, stamped.stamp_ns)
                self._names.arrived(stream, stamped.stamp_ns)
                pipeline.add(stream, *stamped)
            self._after_message()

        return receive

    def _depth_receiver(self) -> Callable[[str, memoryview | bytes], None]:
        pipeline = self._pipeline

        def receive(kind: str, data: memoryview | bytes) -> None:
            try:
                pipeline.add_depth(*read_image(data, kind))
            except FrameError:
                # A pair that has its stamp is told that its depth image cannot be used.
                pipeline.add_depth(read_stamp(data) or 0, "", None)
            self._after_message()

        return receive

    def _receive_video(self, kind: str, data: bytes) -> None:
        """Leave a packet to the thread that decodes, which the first one starts."""
        if self._video is None:
            self._video = VideoInput(
                self._pipeline, after_each=self._after_message, on_error=self.fail
            )
        self._status.arrived(Stream.IMAGE, read_stamp(data))
        self._video.put(kind, data)

    def _after_message(self) -> None:
        """Tell who paces itself by the account, and make room before more is received."""
        if self._outputs.wants_accounts:
            self._outputs.account(self._pipeline.snapshot())
        self._make_room()

    def _make_room(self) -> None:
        """Make room in a queue that drops nothing before more is received."""
        if self._worker is not None:
            self._pipeline.wait_for_room()
            return
        while self._pipeline.crowded:
            self._pipeline.work(0.0)

    def _follow(self) -> None:
        inputs = self._inputs
        if inputs is None:
            return
        inputs.follow_publishers()
        self._follow_pace(inputs)
        self._give_up_depth(inputs)
        for _, source in inputs:
            late = source.age_s > self.settings.startup_timeout and not source.publishers
            if late and self._throttle.admit(source.options.topic) is not None:
                self.get_logger().warning(source.missing())
        found = all(source.publishers for _, source in inputs)
        period_s = _FOLLOW_CHANGES_PERIOD_S if found else _FOLLOW_PERIOD_S
        self._follow_timer.timer_period_ns = round(period_s * 1e9)
        if self._account_timer.is_canceled() and self._outputs.wants_accounts:
            self._account_timer.reset()

    def _follow_pace(self, inputs: Inputs) -> None:
        """Drop no frame while the publisher paces itself by our account; log when that changes."""
        listeners = self._outputs.account_listeners()
        paced = any(not listeners.isdisjoint(source.publisher_names) for _, source in inputs)
        if paced != self._outputs.paced:
            self.get_logger().info(
                "a paced replay is publishing: it waits while the queue is full, so none is dropped"
                if paced
                else f"no paced replay is publishing any more: overflow is {self.settings.overflow}"
            )
        self._pipeline.pace(on=paced)
        self._outputs.paced = paced

    def _give_up_depth(self, inputs: Inputs) -> None:
        """Let no pair wait for long for a depth image that may never come.

        A paced replay ends with a flush: until then nothing depends on how long anything takes.
        """
        depth = dict(inputs).get(DEPTH)
        if depth is not None and not (self._outputs.paced and depth.publishers):
            self._pipeline.give_up_depth(_DEPTH_WAIT_S)

    def _clock_jumped(self, _jump: object) -> None:
        self.get_logger().warning(
            f"time jumped back: on_clock_jump is {self.settings.on_clock_jump}"
        )
        self._pipeline.clock_jumped(self.get_clock().now().nanoseconds)

    # Results.

    def _on_outcome(self, outcome: FrameOutcome) -> None:
        self._status.ended(outcome, self.get_clock().now().nanoseconds)
        if outcome.reason is not None:
            self._log_drop(outcome)
        elif (
            outcome.counts
            and outcome.counts.unmapped
            and (line := self._unknown_labels.line(outcome))
        ):
            self.get_logger().warning(line)
        if outcome.depth_problem and self._throttle.admit(DEPTH) is not None:
            self.get_logger().warning(f"a depth image cannot be used: {outcome.depth_problem}")
        self._outputs.frame(outcome)
        if self._outputs.wants_accounts:
            self._outputs.account(self._pipeline.snapshot())

        if (
            outcome.reason is Reason.UNMATCHED_IMAGE
            and self.settings.predict_unlabelled
            and self._outputs.wants_pictures
        ):
            self._unlabelled.offer(outcome)
            if not self._engine.predictor.needs_worker:
                self._unlabelled.work()

    def _work(self, timeout_s: float) -> None:
        """Score what waits, and predict an image without a label if nothing does."""
        if not self._pipeline.work(0.0 if len(self._unlabelled) else timeout_s):
            self._unlabelled.work()

    def _log_unpredicted(self, error: FrameError) -> None:
        if self._throttle.admit("unpredicted") is not None:
            self.get_logger().warning(f"an image without a label is not predicted: {error}")

    def _log_drop(self, outcome: FrameOutcome) -> None:
        text = self._drops.line(outcome)
        # rclpy ties a severity to the calling line.
        if text and outcome.reason is not None and outcome.reason.is_normal:
            self.get_logger().info(text)
        elif text:
            self.get_logger().warning(text)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text)

    def _publish_state(self) -> None:
        self._outputs.state(self._pipeline.snapshot())

    def _confirm_account(self) -> None:
        self._outputs.confirm_account(self._pipeline.snapshot())
        if not self._outputs.wants_accounts:
            self._account_timer.cancel()

    def _diagnose(self) -> None:
        inputs = list(self._inputs or ())
        late_s = self.settings.startup_timeout
        missing = [i.missing() for _, i in inputs if i.age_s > late_s and not i.publishers]
        doubtful = self._names.tick() if inputs else ""
        findings = "; ".join(filter(None, [self._status.findings(), doubtful]))
        if findings and self._findings_log.admit("") is not None:
            self.get_logger().warning(findings)
        status = self._status.report(
            self._pipeline,
            {f"{name} input": source.describe() for name, source in inputs},
            "; ".join(missing),
            findings,
            {"device": self._engine.device, "paused": str(self._paused).lower()}
            | depth_values(self._pipeline)
            | self._engine.device_facts(),
        )
        self._outputs.diagnostics.publish(status)

    # Services.

    def _reset(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        before = self._pipeline.snapshot()
        self._pipeline.reset()
        self._status.reset()
        response.success = True
        response.message = f"discarded {before.counts.frames} frames"
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _flush(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        held = sum(self._pipeline.held.values())
        self._pipeline.flush()
        response.success = True
        response.message = (
            f"{held} messages that waited for a partner counted as unmatched, "
            f"{self._pipeline.queued} pairs still in the queue"
        )
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self.state_label == "active"
        if not response.success:
            response.message = f"the node is {self.state_label}, expected active"
            return response
        if request.data and not self._paused:
            self._stop_inputs()
        elif not request.data and self._paused:
            self._start_inputs()
        self._paused = request.data
        response.message = "paused: nothing is received" if request.data else "running"
        return response


def prepare_process() -> None:
    """Set the process up for an evaluator."""
    keep_freed_memory()
    # Threads that take messages wait for the one that counts no longer than a frame lasts.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    prepare_process()
    process.main(DeeplabEvaluator, args=args)
