"""Evaluates a bag from a file, without a graph: the same pipeline that live nodes run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.bags.images import decode_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.cdr import IMAGE_TYPES
from deeplab_miou.defaults import IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.engine import Engine, EngineOptions, build_engine
from deeplab_miou.errors import BagError, ConfigurationError, FrameError
from deeplab_miou.images import decode_color
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.scores import compute_scores
from deeplab_miou.pairing import Pairer
from deeplab_miou.pictures import comparison
from deeplab_miou.pipeline import FrameOutcome, Pipeline
from deeplab_miou.report.course import seconds
from deeplab_miou.report.provenance import environment, utc
from deeplab_miou.report.report import Report
from deeplab_miou.worst_frames import WorstFrames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.bags.records import BagMessage
    from deeplab_miou.metric.scores import AbsentClasses
    from deeplab_miou.pipeline import Message

_NS = 1_000_000_000
# Nothing presses offline: labels may lie far behind their images in the bag.
_HELD_FRAMES = 10_000
_HELD_BYTES = 2**30


@dataclass(frozen=True)
class OfflineOptions:
    """What to evaluate.

    Attributes:
        bag: folder or file.
        engine: label map and where predictions come from.
        image_topic: images for the network.
        label_topic: ground truth.
        prediction_topic: predictions in the bag, in place of the network; empty for the network.
        sync_tolerance_s: greatest difference of image and label stamp, seconds.
        start_s: where to begin, seconds after the bag's first message.
        duration_s: how much to evaluate, seconds; None for all.
        absent_classes: ``exclude`` or ``zero``, see `compute_scores`.
    """

    bag: str
    engine: EngineOptions = field(default_factory=EngineOptions)
    image_topic: str = IMAGE_TOPIC
    label_topic: str = LABEL_TOPIC
    prediction_topic: str = ""
    sync_tolerance_s: float = 0.0
    start_s: float = 0.0
    duration_s: float | None = None
    absent_classes: AbsentClasses = "exclude"

    @property
    def input_topic(self) -> str:
        """The topic that is paired with the labels."""
        return self.prediction_topic or self.image_topic


@dataclass(frozen=True)
class Evaluation:
    """A report, and whether all of the bag is in it.

    Attributes:
        report: the report.
        damaged: the bag could not be read to its end; the report is about what could.
        first_drops: for each reason that occurred, the first frame's line.
    """

    report: Report
    damaged: bool
    first_drops: dict[str, str]


def evaluate(
    options: OfflineOptions, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Evaluation:
    """Evaluate a bag.

    Args:
        options: what and how.
        on_progress: called after each message with how many were read, and how many there are.

    Raises:
        ConfigurationError: a topic, checkpoint, label map or device cannot be used.
        BagError: nothing of the bag can be read.
    """
    started_s = time.time()
    with BagReader(options.bag) as reader:
        _check(options, reader)
        engine = build_engine(options.engine)
        try:
            run = _Run(options, engine)
            problem = run.read(reader, on_progress)
        finally:
            engine.close()
    provenance = {
        **engine.provenance,
        "command": "deeplab-miou evaluate",
        "mode": "offline",
        "bags": [options.bag],
        "input_topic": options.input_topic,
        "label_topic": options.label_topic,
        "sync_tolerance_s": options.sync_tolerance_s,
        "start_s": options.start_s,
        "duration_s": options.duration_s,
        "absent_classes": options.absent_classes,
        "started": utc(started_s),
        "ended": utc(time.time()),
        **environment(engine.device),
    }
    report = run.report(provenance, [problem] if problem else [])
    return Evaluation(report, bool(problem), run.first_drops)


class _Run:
    """One evaluation: feeds the pipeline and works it off message by message."""

    def __init__(self, options: OfflineOptions, engine: Engine) -> None:
        self.first_drops: dict[str, str] = {}
        self._options = options
        self._label_map = engine.label_map
        self._bootstrap = BlockBootstrap(engine.label_map.num_classes)
        self._worst: WorstFrames[FrameOutcome] = WorstFrames()
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
        )

    def read(self, reader: BagReader, on_progress: Callable[[int, int], None]) -> str:
        """Evaluate a bag; returns what could not be read of it, empty if nothing."""
        total = sum(reader.topics[topic].count for topic in _topics(self._options))
        problem = ""
        try:
            for done, message in enumerate(_messages(self._options, reader), 1):
                self._add(message)
                while self._pipeline.queued:
                    self._pipeline.work(0.0)
                on_progress(done, total)
        except BagError as error:
            problem = str(error)
        self._pipeline.flush()
        return problem

    def report(self, provenance: dict[str, object], problems: list[str]) -> Report:
        """Return the report of all that was read."""
        snapshot = self._pipeline.snapshot()
        absent = self._options.absent_classes
        worst = self._worst.frames()
        return Report(
            class_names=self._label_map.class_names,
            matrix=snapshot.matrix,
            frames=snapshot.frames,
            scores=compute_scores(snapshot.matrix, absent_classes=absent),
            accounting={
                "images": snapshot.account.images.to_dict(),
                "labels": snapshot.account.labels.to_dict(),
            },
            provenance=provenance,
            intervals=self._bootstrap.intervals(absent_classes=absent),
            timeline=self._bootstrap.timeline(absent_classes=absent),
            worst_frames=worst,
            pictures=[self._picture(frame.evidence) for frame in worst],
            palette=self._label_map.palette,
            ignored_pixels=snapshot.ignored_pixels,
            unmapped_pixels=snapshot.unmapped_pixels,
            problems=problems,
        )

    def _picture(self, outcome: FrameOutcome) -> NDArray[np.uint8]:
        """Draw a frame that was evaluated, for the report."""
        assert outcome.prediction is not None  # noqa: S101  (evaluated)
        assert outcome.ground_truth is not None  # noqa: S101
        image = None
        if outcome.image is not None and not self._options.prediction_topic:
            image = decode_color(outcome.image.image)
        return comparison(image, outcome.ground_truth, outcome.prediction, self._label_map)

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
            self._bootstrap.update(outcome.matrix, image.stamp_ns)
            self._worst.update(outcome.matrix, image.stamp_ns, outcome)


def _check(options: OfflineOptions, reader: BagReader) -> None:
    """Complain about topics before the network is loaded."""
    for topic in _topics(options):
        info = reader.require(topic, IMAGE_TYPES)
        if info.serialization != "cdr":
            raise ConfigurationError(
                f"topic {topic!r} of bag {options.bag!r} is serialised as {info.serialization!r}, "
                f"expected 'cdr' as ROS 2 writes it"
            )
    if options.input_topic == options.label_topic:
        raise ConfigurationError(
            f"topic {options.label_topic!r} is given for both images and labels: name two topics"
        )
    length_s = reader.duration_ns / _NS
    if options.start_s > length_s:
        raise ConfigurationError(
            f"start is {options.start_s:g} s, but bag {options.bag!r} ends after {length_s:.1f} s"
        )


def _topics(options: OfflineOptions) -> tuple[str, str]:
    return options.input_topic, options.label_topic


def _messages(options: OfflineOptions, reader: BagReader) -> Iterator[BagMessage]:
    start_ns = reader.start_ns + round(options.start_s * _NS) if options.start_s else None
    stop_ns = None
    if options.duration_s is not None:
        begin_ns = reader.start_ns if start_ns is None else start_ns
        stop_ns = begin_ns + round(options.duration_s * _NS)
    return reader.messages(_topics(options), start_ns, stop_ns)
