"""One evaluation of a bag: messages in, report out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.aggregation.frames import FrameStatistics
from deeplab_miou.aggregation.results import Scoring, Totals
from deeplab_miou.bags.images import checked_image
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.queueing import WorkQueue
from deeplab_miou.evaluation.run_state import RunState
from deeplab_miou.images.decoding import unknown_labels
from deeplab_miou.images.messages import Undecodable
from deeplab_miou.offline.plan import NONE, REPEATED, UNREADABLE
from deeplab_miou.offline.worst_pictures import WorstPictures
from deeplab_miou.options.scoring import WindowOptions
from deeplab_miou.report.report import Report
from deeplab_miou.report.stamps import format_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.images.cdr import StampedImage
    from deeplab_miou.offline.recorder import OfflineRecorder
    from deeplab_miou.offline.worst_pictures import PictureKey
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.report.frame_table import FrameTableWriter
    from deeplab_miou.tags.timeline import TagTimeline

# Pairs that are decoded while others are scored; a batch, if that is more.
_MOST_AHEAD = 4
# Frames whose counts are added up together: few, as they hold pictures until then.
_MOST_PENDING = 8
_DECODERS = 4
_REPEATED = "an earlier message of its topic has the same stamp; are stamps set?"
_REJECTED = {
    (Stream.IMAGE, NONE): (Reason.UNMATCHED_IMAGE, "no label with its stamp is in the bag"),
    (Stream.LABEL, NONE): (Reason.UNMATCHED_LABEL, "no image with its stamp is in the bag"),
    (Stream.IMAGE, REPEATED): (Reason.DUPLICATE_STAMP, _REPEATED),
    (Stream.LABEL, REPEATED): (Reason.DUPLICATE_STAMP, _REPEATED),
}


class Run:
    """One evaluation: feeds the pipeline and works it off frame by frame.

    Args:
        options: what and how.
        engine: label map and predictions.
        frames: takes the counts of each frame; None if not needed.
        on_frame: called with each evaluated frame and its prediction; None if not needed.
        on_outcome: called with each outcome; None if not needed.
        recorder: records what becomes of each frame; None for no recording.
        legends: the names of ids; nothing by default.
        tags: frames are also scored separately by these; None for no tags.

    Attributes:
        first_drops: for each reason that occurred, the first frame's line.
        unknown_labels: the most frequent ids or colours that the label map does not know, of the
            first label with such; empty if there was none.
        depth_problem: why the first depth image that cannot be used cannot; empty if all can.
    """

    def __init__(
        self,
        options: OfflineOptions,
        engine: Engine,
        frames: FrameTableWriter | None = None,
        on_frame: Callable[[FrameOutcome], None] | None = None,
        on_outcome: Callable[[FrameOutcome], None] | None = None,
        *,
        recorder: OfflineRecorder | None = None,
        tags: TagTimeline | None = None,
        legends: Legends | None = None,
    ) -> None:
        self._legends = Legends() if legends is None else legends
        self.first_drops: dict[str, str] = {}
        self.unknown_labels = ""
        self.depth_problem = ""
        self._options = options
        self._scoring = Scoring(options.absent_classes, options.class_weights)
        self._frames = frames
        self._on_frame = on_frame
        self._on_outcome = on_outcome
        self._recorder = recorder
        self._label_map = engine.label_map
        self._axes = engine.axes
        window = options.window or WindowOptions()
        self._statistics: FrameStatistics[FrameOutcome] = FrameStatistics(
            engine.axes,
            window_frames=window.window_frames or None,
            window_seconds=window.window_seconds or None,
            block_s=options.bootstrap_block_s,
            most_pending=_MOST_PENDING,
            tags=tags,
            tags_are_complete=True,
        )
        self._worst = WorstPictures(engine, self._legends, has_images=not options.prediction_topic)
        # Whoever looks at frames gets each before the next is read.
        is_watched = on_frame is not None or recorder is not None
        is_ahead = engine.predictor.needs_worker and not is_watched
        batch_size = options.engine.batch_size
        self._most_ahead = max(_MOST_AHEAD, batch_size) if is_ahead else 0
        self._decoders = ThreadPoolExecutor(_DECODERS) if is_ahead else None
        self._state = RunState(engine.label_map.num_classes, regions=len(engine.axes.regions))
        self._pipeline = Pipeline(
            engine.predictor,
            engine.label_map,
            run=self._state,
            regions=engine.regions,
            error_types=engine.error_types,
            queue=WorkQueue(self._most_ahead + 1),
            batch_size=batch_size,
            score_at=options.engine.score_at,
            decoders=self._decoders,
            legends=self._legends,
            on_outcome=self._take,
            # A GPU predicts a few frames once more at the end rather than hand out them all.
            wants_predictions=lambda: (
                engine.device in ("none", "cpu")
                or on_frame is not None
                or (recorder is not None and recorder.wants_prediction)
            ),
        )

    def is_label(self, message: BagMessage) -> bool:
        """Return whether a message is of the label topic."""
        return message.topic == self._options.label_topic

    def take(
        self, image: StampedImage, label: StampedImage, depth: StampedImage | None = None
    ) -> None:
        """Score an image with its label, perhaps not before some more have been taken."""
        self._pipeline.add_pair(image, label, depth)
        while len(self._pipeline.queue) > self._most_ahead:
            self._pipeline.work(0.0)

    def reject(self, message: BagMessage, partner: int) -> None:
        """Count a message that has no partner.

        Args:
            message: an image or a label.
            partner: why: a number below 0 of `plan`.
        """
        stream = Stream.LABEL if self.is_label(message) else Stream.IMAGE
        stamp_ns, frame_id = message.timestamp_ns, ""
        try:
            stamp_ns, frame_id, image = checked_image(message)
            if partner == UNREADABLE and isinstance(image, Undecodable):
                error = FrameError(image.reason, image.text)
            else:
                error = FrameError(*_REJECTED[stream, partner])
        except FrameError as unreadable:
            error = unreadable
        self._pipeline.reject(stream, stamp_ns, frame_id, error)

    def count_lost(self, lost: Mapping[Stream, int]) -> None:
        """Count messages that were lost while the bag was recorded."""
        for stream, count in lost.items():
            self._state.lost(stream, count)

    def replay(self, outcome: FrameOutcome) -> None:
        """Count what another run has found out of the same bag.

        Args:
            outcome: its place in this run, after those before it, is in its position.
        """
        messages = ((Stream.IMAGE, outcome.image), (Stream.LABEL, outcome.label))
        streams = tuple(stream for stream, message in messages if message is not None)
        for stream in streams:
            self._state.received(stream)
        if outcome.reason is not None:
            self._state.dropped(0, streams, outcome.reason)
        elif outcome.counts is not None and outcome.image is not None:
            self._state.evaluated(0, outcome.counts, outcome.image.stamp_ns)
        self._count(outcome)

    def pictures(self) -> dict[PictureKey, NDArray[np.uint8]]:
        """Return those of the worst frames, of the whole frames and of each region."""
        return self._worst.by_key(self._statistics.read())

    def finish_with(self, pictures: Mapping[PictureKey, NDArray[np.uint8]]) -> None:
        """Take pictures of the worst frames that other runs have drawn, by their places in this."""
        self._worst.take(self._statistics.read(), pictures)

    def finish(self) -> None:
        """Score what is left, record the final scores and draw the worst frames."""
        while len(self._pipeline.queue):
            self._pipeline.work(0.0)
        self._pipeline.finish()
        if self._decoders is not None:
            self._decoders.shutdown()
        if self._recorder is not None:
            self._recorder.scores(*self._scores())
        # A device that fails now costs the pictures, not the report.
        with suppress(FrameError):
            self._worst.draw(self._statistics.read())

    def result(self) -> Result:
        """Return the scores of all that was counted so far; resampling takes a while."""
        return self._statistics.read().result(self._totals(), self._scoring)

    def report(self, provenance: dict[str, object], problem: str, findings: list[str]) -> Report:
        """Return the report of all that was read.

        Args:
            provenance: what decides the score.
            problem: what could not be read, empty if nothing.
            findings: what else may be missing from the score, a line each.
        """
        window = None if self._options.window is None else self._window()
        if self.depth_problem:
            first = f"the first depth image that cannot be used is the one at {self.depth_problem}"
            findings = [*findings, first]
        result = self.result()
        return Report(
            result,
            window=window,
            provenance=provenance,
            pictures=self._worst.whole,
            region_pictures=dict(zip(result.regions, self._worst.regions, strict=True)),
            palette=self._label_map.palette,
            problems=[problem, *findings] if problem else findings,
            damaged=bool(problem),
        )

    def _window(self) -> Result:
        return self._statistics.read().window_result(self._totals(), self._scoring)

    def _scores(self) -> tuple[Result, Result]:
        return self.result(), self._window()

    def _totals(self) -> Totals:
        return Totals.of(self._axes, self._pipeline.run.snapshot())

    def _take(self, outcome: FrameOutcome) -> None:
        """Count an outcome of the pipeline, which still has its pictures."""
        if self._on_outcome is not None:
            self._on_outcome(outcome)
        has_unknown = outcome.counts is not None and outcome.counts.unmapped > 0
        if has_unknown and not self.unknown_labels and outcome.label is not None:
            label_map = self._legends.label_map(outcome.label, self._label_map)
            self.unknown_labels = unknown_labels(outcome.label.image, label_map)
        if outcome.depth_problem and not self.depth_problem and outcome.image is not None:
            self.depth_problem = f"{format_stamp(outcome.image.stamp_ns)}: {outcome.depth_problem}"
        self._count(outcome)
        if self._recorder is not None:
            self._recorder.take(outcome, self._scores)

    def _count(self, outcome: FrameOutcome) -> None:
        image = outcome.image or outcome.label
        if outcome.reason is not None:
            stamp = f"stamp {format_stamp(image.stamp_ns)}: " if image is not None else ""
            self.first_drops.setdefault(outcome.reason.value, f"{stamp}{outcome.explanation}")
        elif outcome.counts is not None and image is not None and outcome.label is not None:
            offset_ns = outcome.label.stamp_ns - image.stamp_ns
            self._statistics.add(outcome.counts, image.stamp_ns, outcome, offset_ns=offset_ns)
            if self._frames is not None:
                self._frames.add(image.stamp_ns, outcome.counts.matrix)
            if self._on_frame is not None:
                self._on_frame(outcome)
