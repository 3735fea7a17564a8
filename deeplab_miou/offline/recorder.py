"""Records an evaluation of a bag as the nodes' topics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deeplab_miou.pictures.outcomes import outcome_overlay
from deeplab_miou.pictures.reduced import OVERLAY_SIDE, reduced_jpeg
from deeplab_miou.recording.frame_bytes import encode_frame
from deeplab_miou.recording.recording import (
    MOST_FRAMES,
    MOST_OVERLAYS,
    MOST_SCORES,
    Thinning,
    scores_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.recording.recording import Recording

# As the topics are called with the nodes' default names.
_SOURCE = "/deeplab_evaluator"
_RUN_ID = "offline"
# Of stamps: a plot needs no more, and intervals take a while to compute.
_PERIOD_NS = 1_000_000_000


class OfflineRecorder:
    """Takes what becomes of each frame, and the scores now and then.

    Args:
        recording: where to.
        options: what is evaluated.
        engine: label map and where predictions come from.
        expected: frames that will come.
    """

    def __init__(
        self, recording: Recording, options: OfflineOptions, engine: Engine, expected: int
    ) -> None:
        self._recording = recording
        self._label_map = engine.label_map
        self._is_camera = not options.prediction_topic
        self._frames = Thinning(MOST_FRAMES, expected)
        self._overlays = Thinning(MOST_OVERLAYS, expected)
        self._scores = Thinning(MOST_SCORES)
        self._scored_ns: int | None = None

    @property
    def wants_prediction(self) -> bool:
        """Whether the next frame's prediction will be drawn."""
        return self._overlays.is_due and not self._recording.problem

    def take(self, outcome: FrameOutcome, scores: Callable[[], tuple[Result, Result]]) -> None:
        """Record the outcome of a frame.

        Args:
            outcome: of the frame.
            scores: computes those of all frames so far, and of the window.
        """
        leading = outcome.image or outcome.label
        if leading is None:
            return
        stamp_ns = leading.stamp_ns
        data = b""
        if self._frames.is_due:
            data = encode_frame(outcome, source=_SOURCE, run_id=_RUN_ID)
        if self._frames.take(len(data)):
            self._recording.frame(_SOURCE, stamp_ns, data)
        if outcome.counts is None:
            return
        jpeg = b""
        if self._overlays.is_due:
            picture = outcome_overlay(outcome, self._label_map, is_camera=self._is_camera)
            jpeg = b"" if picture is None else reduced_jpeg(picture, OVERLAY_SIDE)
        if self._overlays.take(len(jpeg)) and jpeg:
            self._recording.overlay(_SOURCE, stamp_ns, leading.frame_id, jpeg)
        if self._scored_ns is None or abs(stamp_ns - self._scored_ns) >= _PERIOD_NS:
            self._scored_ns = stamp_ns
            computed = scores() if self._scores.is_due else ()
            if self._scores.take(scores_size(*computed)):
                self.scores(*computed)

    def scores(self, result: Result, window: Result) -> None:
        """Record the scores of all frames so far, and of the window."""
        self._recording.result(_named(result))
        self._recording.window(_named(window))


def _named(result: Result) -> Result:
    return replace(result, totals=replace(result.totals, sources=(_SOURCE,)))
