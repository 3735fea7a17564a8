"""Records an evaluation of a bag as the nodes' topics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deeplab_miou.aggregation.results import Result, Scoring, Totals, score
from deeplab_miou.metric.accumulator import Accumulator
from deeplab_miou.pictures.outcomes import outcome_overlay
from deeplab_miou.pictures.reduced import OVERLAY_SIDE, reduced_jpeg
from deeplab_miou.recording.frame_bytes import encode_frame
from deeplab_miou.recording.recording import MOST_FRAMES, MOST_OVERLAYS, MOST_SCORES, Thinning

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.recording.recording import Recording

# As the topics are called with the nodes' default names.
_SOURCE = "/deeplab_evaluator"
_RUN_ID = "offline"
# Of stamps: a plot needs no more, and intervals take a while to compute.
_PERIOD_NS = 1_000_000_000
_WINDOW_FRAMES = 100


class OfflineRecorder:
    """Takes what becomes of each frame, and the scores now and then.

    Args:
        recording: where to.
        options: how scores are computed.
        engine: label map and where predictions come from.
        expected: frames that will come.
    """

    def __init__(
        self, recording: Recording, options: OfflineOptions, engine: Engine, expected: int
    ) -> None:
        self._recording = recording
        self._scoring = Scoring(options.absent_classes, options.class_weights)
        self._label_map = engine.label_map
        self._is_camera = not options.prediction_topic
        self._window = Accumulator(engine.label_map.num_classes, window_frames=_WINDOW_FRAMES)
        self._frames = Thinning(MOST_FRAMES, expected)
        self._overlays = Thinning(MOST_OVERLAYS, expected)
        self._scores = Thinning(MOST_SCORES)
        self._scored_ns: int | None = None

    @property
    def wants_prediction(self) -> bool:
        """Whether the next frame's prediction will be drawn."""
        return self._overlays.is_due and not self._recording.problem

    def take(self, outcome: FrameOutcome, result: Callable[[], Result]) -> None:
        """Record the outcome of a frame.

        Args:
            outcome: of the frame.
            result: computes the scores so far.
        """
        leading = outcome.image or outcome.label
        if leading is None:
            return
        stamp_ns = leading.stamp_ns
        if self._frames.take():
            data = encode_frame(outcome, source=_SOURCE, run_id=_RUN_ID)
            self._recording.frame(_SOURCE, stamp_ns, data)
        if outcome.counts is None:
            return
        self._window.update(outcome.counts.matrix, stamp_ns)
        if self._overlays.take():
            picture = outcome_overlay(outcome, self._label_map, is_camera=self._is_camera)
            if picture is not None:
                jpeg = reduced_jpeg(picture, OVERLAY_SIDE)
                self._recording.overlay(_SOURCE, stamp_ns, leading.frame_id, jpeg)
        if self._scored_ns is None or abs(stamp_ns - self._scored_ns) >= _PERIOD_NS:
            self._scored_ns = stamp_ns
            if self._scores.take():
                self.scores(result())

    def scores(self, result: Result) -> None:
        """Record scores, and those of the window.

        Args:
            result: of all frames so far.
        """
        result = replace(result, totals=replace(result.totals, sources=(_SOURCE,)))
        self._recording.result(result)
        found = self._window.snapshot()
        if found.window is None or found.window_end_ns is None:
            return
        recent = Totals(
            result.totals.class_names,
            found.window,
            stamp_ns=found.window_end_ns,
            sources=result.totals.sources,
        )
        scored = score(found.window.matrix, self._scoring)
        self._recording.window(Result(recent, scored, start_ns=found.window_start_ns))
