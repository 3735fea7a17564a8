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
from deeplab_miou.evaluation.engine import Engine, build_engine, make_legends
from deeplab_miou.evaluation.live_pipeline import build_live_pipeline
from deeplab_miou.evaluation.outcome_log import OutcomeLog
from deeplab_miou.evaluation.unlabelled import Unlabelled
from deeplab_miou.evaluation.worker import Worker
from deeplab_miou.memory import keep_freed_memory, release_freed_memory
from deeplab_miou.nodes.evaluator.inputs import EvaluatorInputs
from deeplab_miou.nodes.evaluator.outputs import EvaluatorOutputs
from deeplab_miou.nodes.evaluator.status import EvaluatorStatus, depth_values
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.options.evaluator import EvaluatorOptions
from deeplab_miou.regions.regions import check_depth
from deeplab_miou.telemetry import Throttle
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.clock import JumpHandle
    from rclpy.service import Service
    from rclpy.timer import Timer

    from deeplab_miou.errors import FrameError
    from deeplab_miou.evaluation.outcome_log import LogLine
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.evaluation.pipeline import Pipeline

# Each turn of the executor costs as much as a small image, so that little is done by polling.
_FOLLOW_PERIOD_S = 0.1  # until both inputs are subscribed
_FOLLOW_CHANGES_PERIOD_S = 0.5  # from then on
_ACCOUNT_PERIOD_S = 0.05  # while somebody listens
_DIAGNOSTICS_PERIOD_S = 1.0
_FINDINGS_PERIOD_S = 60.0
_LAST_STATE_S = 0.5
_SWITCH_INTERVAL_S = 0.0005


class DeeplabEvaluator(ManagedNode[EvaluatorOptions]):
    """Scores a network on a live stream; all logic is in `deeplab_miou.evaluation.pipeline`."""

    threads = 4  # transitions, states, slow services, the rest

    # `configure` makes these and `cleanup` takes them away: in between they are not there.
    _engine: Engine
    _pipeline: Pipeline
    _unlabelled: Unlabelled
    _outputs: EvaluatorOutputs
    _inputs: EvaluatorInputs
    _outcome_log: OutcomeLog

    def __init__(self, name: str = "deeplab_evaluator") -> None:
        super().__init__(name, EvaluatorOptions)
        self._run_id = uuid.uuid4().hex
        self._reset_count = 0
        self._worker: Worker | None = None
        self._own_services: list[Service] = []
        self._periodic: list[Timer] = []
        self._state_timer: Timer | None = None
        self._jump_handle: JumpHandle | None = None
        self._status = EvaluatorStatus()
        self._throttle = Throttle()
        self._findings_log = Throttle(_FINDINGS_PERIOD_S)
        self._paused = False
        # One at a time, so that an older state never overtakes a newer one.
        self._state_group = MutuallyExclusiveCallbackGroup()
        self._slow_group = MutuallyExclusiveCallbackGroup()

    def configure(self) -> None:
        """Load and warm up the network, make publishers and services."""
        settings = self.settings
        self._engine = build_engine(settings)
        check_depth(self._engine.regions, settings.depth_topic)
        legends = make_legends(settings, self._engine)
        self._pipeline = build_live_pipeline(
            settings,
            self._engine,
            legends,
            run_id=self._run_id,
            reset_count=self._reset_count,
            wants_predictions=lambda: self._outputs.wants_pictures,
            wants_confidences=lambda: self._outputs.wants_confidences,
            on_outcome=self._on_outcome,
        )
        self._status = EvaluatorStatus(round(settings.sync_tolerance * 1e9))
        self._findings_log = Throttle(_FINDINGS_PERIOD_S)
        self._outcome_log = OutcomeLog(
            {Stream.IMAGE: settings.image_topic, Stream.LABEL: settings.label_topic},
            self._engine.label_map,
            legends,
        )
        self._paused = False
        self._outputs = EvaluatorOutputs(
            self, self._engine, run_id=self._run_id, is_camera=settings.source == "network"
        )
        self._inputs = EvaluatorInputs(
            self,
            settings,
            self._pipeline,
            legends,
            status=self._status,
            outputs=self._outputs,
            has_worker=self._engine.predictor.needs_worker,
            on_error=self.fail,
        )
        self._unlabelled = Unlabelled(
            self._engine.predictor,
            self._engine.label_map.ignore_index,
            wants_confidences=lambda: self._outputs.wants_confidences,
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
        pipeline.queue.interrupt(on=False)
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
        self._inputs.start()
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
            self._pipeline.queue.interrupt(on=True)

    def deactivate(self) -> None:
        """Unsubscribe and finish the current frame; keep counts and waiting messages."""
        for timer in self._periodic:
            self.destroy_timer(timer)
        self._periodic = []
        self._state_timer = None
        if self._jump_handle is not None:
            self._jump_handle.unregister()
            self._jump_handle = None
        if hasattr(self, "_inputs"):
            self._inputs.stop()
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
            self._reset_count = self._pipeline.run.snapshot().reset_count + 1
            del self._pipeline
        if hasattr(self, "_inputs"):
            del self._inputs
        if hasattr(self, "_outputs"):
            self._outputs.destroy()
            del self._outputs
        while self._own_services:
            self.destroy_service(self._own_services.pop())
        gc.unfreeze()
        release_freed_memory()

    def finish(self) -> None:
        """Say how it ended."""
        account = self._pipeline.run.account
        self.get_logger().info(
            f"{plural(account.images.evaluated, 'frame')} evaluated of "
            f"{plural(account.images.received, 'image')} and "
            f"{plural(account.labels.received, 'label')} received"
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

    def _follow(self) -> None:
        if self._paused:
            return
        found = self._inputs.follow(self.settings.startup_timeout)
        period_s = _FOLLOW_CHANGES_PERIOD_S if found else _FOLLOW_PERIOD_S
        self._follow_timer.timer_period_ns = round(period_s * 1e9)
        if self._account_timer.is_canceled() and self._outputs.wants_accounts:
            self._account_timer.reset()

    def _clock_jumped(self, _jump: object) -> None:
        self.get_logger().warning(
            f"time jumped back: on_clock_jump is {self.settings.on_clock_jump}"
        )
        self._pipeline.clock_jumped(self.get_clock().now().nanoseconds)

    # Results.

    def _on_outcome(self, outcome: FrameOutcome) -> None:
        self._status.ended(outcome, self.get_clock().now().nanoseconds)
        for line in self._outcome_log.lines(outcome):
            self._log(line)
        self._outputs.frame(outcome)
        if self._outputs.wants_accounts:
            self._outputs.account(self._pipeline.run.snapshot())

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

    def _log(self, line: LogLine) -> None:
        # rclpy ties a severity to the calling line.
        if line.is_warning:
            self.get_logger().warning(line.text)
        else:
            self.get_logger().info(line.text)

    def _publish_state(self) -> None:
        self._outputs.state(self._pipeline.run.snapshot())

    def _confirm_account(self) -> None:
        self._outputs.confirm_account(self._pipeline.run.snapshot())
        if not self._outputs.wants_accounts:
            self._account_timer.cancel()

    def _diagnose(self) -> None:
        findings = "; ".join(filter(None, [self._status.findings(), self._inputs.check_names()]))
        if findings and self._findings_log.admit("") is not None:
            self.get_logger().warning(findings)
        status = self._status.report(
            self._pipeline,
            self._inputs.describe(),
            "; ".join(self._inputs.missing(self.settings.startup_timeout)),
            findings,
            {"device": self._engine.device, "paused": str(self._paused).lower()}
            | depth_values(self._pipeline)
            | self._engine.device_facts(),
        )
        self._outputs.diagnostics.publish(status)

    # Services.

    def _reset(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        before = self._pipeline.run.snapshot()
        self._pipeline.reset()
        self._status.reset()
        response.success = True
        response.message = f"discarded {plural(before.counts.frames, 'frame')}"
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _flush(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        held = sum(self._pipeline.held.values())
        self._pipeline.flush()
        response.success = True
        response.message = (
            f"{plural(held, 'message')} that waited for a partner counted as unmatched, "
            f"{plural(len(self._pipeline.queue), 'pair')} still in the queue"
        )
        return response

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self.state_label == "active"
        if not response.success:
            response.message = f"the node is {self.state_label}, expected active"
            return response
        if request.data and not self._paused:
            self._inputs.stop()
        elif not request.data and self._paused:
            self._inputs.start()
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
    process.main_alone(
        "deeplab_evaluator",
        DeeplabEvaluator,
        "Score a segmentation network, or predictions on a topic, against ground-truth labels.",
        args,
    )
