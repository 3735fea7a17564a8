"""One evaluation of a bag: messages in, report out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.bags.images import decode_image
from deeplab_miou.errors import BagError, FrameError
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.images.decoding import unknown_labels
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.scores import compute_scores
from deeplab_miou.metric.worst_frames import WorstFrames
from deeplab_miou.pictures.segmentation import comparison
from deeplab_miou.report.course import seconds
from deeplab_miou.report.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.bags.records import BagMessage
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome, Message
    from deeplab_miou.offline.options import OfflineOptions
    from deeplab_miou.report.frame_table import FrameTableWriter

_NS = 1_000_000_000
# Nothing presses offline: labels may lie far behind their images in the bag.
_HELD_FRAMES = 10_000
_HELD_BYTES = 2**30


class Run:
    """One evaluation: feeds the pipeline and works it off message by message.

    Args:
        options: what and how.
        engine: label map and predictions.
        frames: takes the counts of each frame; None if nobody wants them.

    Attributes:
        first_drops: for each reason that occurred, the first frame's line.
        unknown_labels: the most frequent ids or colours that the label map does not know, of the
            first label with such; empty if there was none.
    """

    def __init__(
        self, options: OfflineOptions, engine: Engine, frames: FrameTableWriter | None = None
    ) -> None:
        self.first_drops: dict[str, str] = {}
        self.unknown_labels = ""
        self._options = options
        self._frames = frames
        self._label_map = engine.label_map
        self._bootstrap = BlockBootstrap(engine.label_map.num_classes)
        self._predictor = engine.predictor
        self._worst: WorstFrames[FrameOutcome] = WorstFrames()
        self._pictures: list[NDArray[np.uint8]] = []
        pairer: Pairer[Message] = Pairer(
            tolerance_ns=round(options.sync_tolerance_s * _NS),
            max_frames=_HELD_FRAMES,
            max_bytes=_HELD_BYTES,
        )
        self._pipeline = Pipeline(
            engine.predictor,
            engine.label_map,
            pairer=pairer,
            score_at=options.engine.score_at,
            on_outcome=self._take,
            # A few frames are predicted once more at the end: a device need not hand out them all.
            watched=lambda: False,
        )

    def read(
        self, reader: BagReader, section: tuple[int, int], on_progress: Callable[[int, int], None]
    ) -> str:
        """Evaluate a section of a bag.

        Args:
            reader: the open bag.
            section: recording times to begin at and to end before, nanoseconds.
            on_progress: called after each message with how many were read, and how many there are.

        Returns:
            What could not be read of it, empty if nothing.
        """
        topics = self._options.topics
        total = sum(reader.topics[topic].count for topic in topics)
        problem = ""
        try:
            for done, message in enumerate(reader.messages(topics, *section), 1):
                self._add(message)
                while self._pipeline.queued:
                    self._pipeline.work(0.0)
                on_progress(done, total)
        except BagError as error:
            problem = str(error)
        self._pipeline.flush()
        # A device that fails now costs the pictures, not the report.
        with suppress(FrameError):
            self._pictures = [self._picture(frame.evidence) for frame in self._worst.frames()]
        return problem

    def report(self, provenance: dict[str, object], problems: list[str]) -> Report:
        """Return the report of all that was read."""
        snapshot = self._pipeline.snapshot()
        absent = self._options.absent_classes
        return Report(
            class_names=self._label_map.class_names,
            matrix=snapshot.matrix,
            frames=snapshot.frames,
            scores=compute_scores(
                snapshot.matrix,
                absent_classes=absent,
                class_weights=self._options.class_weights or None,
            ),
            accounting={
                "images": snapshot.account.images.to_dict(),
                "labels": snapshot.account.labels.to_dict(),
            },
            provenance=provenance,
            intervals=self._bootstrap.intervals(absent_classes=absent),
            timeline=self._bootstrap.timeline(absent_classes=absent),
            worst_frames=self._worst.frames(),
            pictures=self._pictures,
            palette=self._label_map.palette,
            ignored_pixels=snapshot.ignored_pixels,
            unmapped_pixels=snapshot.unmapped_pixels,
            problems=problems,
        )

    def _picture(self, outcome: FrameOutcome) -> NDArray[np.uint8]:
        """Draw a frame that was evaluated."""
        assert outcome.image is not None  # noqa: S101  (evaluated)
        assert outcome.ground_truth is not None  # noqa: S101
        given = self._predictor.prepare(outcome.image.image)
        (scored,) = self._predictor.score(
            [given], [outcome.ground_truth], self._label_map, watched=True
        ).result()
        assert scored.prediction is not None  # noqa: S101  (watched)
        image = None if self._options.prediction_topic else given
        return comparison(image, outcome.ground_truth, scored.prediction, self._label_map)

    def _add(self, message: BagMessage) -> None:
        stream = Stream.LABEL if message.topic == self._options.label_topic else Stream.IMAGE
        try:
            stamped = decode_image(message)
        except FrameError as error:
            # Its stamp cannot be read either: the time of recording is the best there is.
            self._pipeline.reject(stream, message.timestamp_ns, "", error)
            return
        self._pipeline.add(stream, stamped.stamp_ns, stamped.frame_id, stamped.image)

    def _take(self, outcome: FrameOutcome) -> None:
        image = outcome.image or outcome.label
        if outcome.reason is not None:
            stamp = f"stamp {seconds(image.stamp_ns)}: " if image is not None else ""
            self.first_drops.setdefault(outcome.reason.value, f"{stamp}{outcome.message}")
        elif outcome.matrix is not None and image is not None:
            if not self.unknown_labels and outcome.label is not None and outcome.unmapped_pixels:
                self.unknown_labels = unknown_labels(outcome.label.image, self._label_map)
            self._bootstrap.update(outcome.matrix, image.stamp_ns)
            self._worst.update(outcome.matrix, image.stamp_ns, outcome)
            if self._frames is not None:
                self._frames.add(image.stamp_ns, outcome.matrix)
