"""Evaluates a bag: the same pipeline that live nodes run, and the same report."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deeplab_miou import __version__
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.images.cdr import IMAGE_TYPES, VIDEO_TYPES
from deeplab_miou.metric.scores import check_weights
from deeplab_miou.offline.label_info import check_label_info, read_legends
from deeplab_miou.offline.losses import with_losses
from deeplab_miou.offline.plan import plan, read_stamps
from deeplab_miou.offline.reading import read_bag
from deeplab_miou.offline.recorder import OfflineRecorder
from deeplab_miou.offline.run import Run
from deeplab_miou.offline.tags import read_tags, tags_digest
from deeplab_miou.offline.video import packets_to_decode
from deeplab_miou.options.declaration import options_of
from deeplab_miou.regions.regions import check_depth
from deeplab_miou.report.criteria import check_names, judge
from deeplab_miou.report.frame_table import FrameTableWriter
from deeplab_miou.report.provenance import environment, utc
from deeplab_miou.video.decoder import check_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.offline.plan import Plan
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.recording.recording import Recording
    from deeplab_miou.report.criteria import Criterion
    from deeplab_miou.report.report import Report
    from deeplab_miou.tags.timeline import TagTimeline

    OnProgress = Callable[[int, int, Callable[[], Result]], None]

# Options that name files, of which the engine's own digest knows the content.
_FILES = ("checkpoint", "labels", "prediction_labels", "regions", "tags")


@dataclass(frozen=True)
class Evaluation:
    """A report, and whether all of the bag is in it.

    Attributes:
        report: the report.
        damaged: the bag could not be read to its end; the report is about what could.
        first_drops: for each reason that occurred, the first frame's line.
        unknown_labels: what the label map did not know of the first label with such pixels.
    """

    report: Report
    damaged: bool
    first_drops: dict[str, str]
    unknown_labels: str


@dataclass(frozen=True, eq=False)
class Side:
    """One of the evaluations for which a bag is read.

    Attributes:
        options: what and how; the bag and the label topic are the same for all.
        engine: what `build_engine` made of ``options.engine``.
        frame_table: where to write the counts of each frame; None for nowhere.
        on_frame: told of each frame that was evaluated, with its prediction; None if nobody is.
        recording: where to record scores and pictures; None for nowhere.
    """

    options: OfflineOptions
    engine: Engine
    frame_table: Path | None = None
    on_frame: Callable[[FrameOutcome], None] | None = None
    recording: Recording | None = None


def evaluate(
    options: OfflineOptions,
    on_progress: OnProgress = lambda _done, _total, _result: None,
    frame_table: Path | None = None,
    engine: Engine | None = None,
    criteria: Sequence[Criterion] = (),
    *,
    recording: Recording | None = None,
) -> Evaluation:
    """Evaluate a bag.

    Args:
        options: what and how.
        on_progress: called after each message with how many were read, how many there are, and
            what returns the scores so far.
        frame_table: where to write the counts of each frame; nowhere by default.
        engine: what `build_engine` made of ``options.engine``, to be used again; made and closed
            here by default.
        criteria: what the score must reach.
        recording: where to record scores and pictures; nowhere by default.

    Raises:
        ConfigurationError: a topic, checkpoint, label map or device cannot be used.
        BagError: nothing of the bag can be read.
    """
    if engine is None:
        check_topics(options)
        with closing(build_engine(options.engine)) as built:
            return evaluate(options, on_progress, frame_table, built, criteria, recording=recording)
    check_names(criteria, engine.axes)
    side = Side(options, engine, frame_table, recording=recording)
    (found,) = evaluate_together([side], on_progress)
    report = replace(found.report, criteria=judge(criteria, found.report.to_dict()))
    return replace(found, report=report)


def evaluate_together(sides: Sequence[Side], on_progress: OnProgress) -> list[Evaluation]:
    """Evaluate a bag in several ways, reading it once.

    Args:
        sides: the ways.
        on_progress: as of `evaluate`; the scores are those of the first.

    Raises:
        ConfigurationError: a topic cannot be used, or weights do not fit the classes.
        BagError: nothing of the bag can be read.
    """
    started_s = time.time()
    topics = [topic for side in sides for topic in side.options.topics]
    with BagReader(sides[0].options.bag) as reader, ExitStack() as stack:
        for side in sides:
            check_reader(side.options, reader)
            check_depth(side.engine.regions, side.options.depth_topic)
            check_class_weights(side.options, side.engine)
        measured = [topic for side in sides for topic in side.options.depth_topics]
        stamps = read_stamps(reader, topics, depth_topics=measured)
        plans = [
            with_losses(reader, stamps, plan(stamps, side.options), side.options) for side in sides
        ]
        tags = [read_tags(side.options, reader, stamps) for side in sides]
        legends = [read_legends(reader, stamps, each.options, each.engine) for each in sides]
        plans = [
            replace(planned, findings=[*planned.findings, *each.doubts])
            for planned, each in zip(plans, legends, strict=True)
        ]
        runs = [_make_run(*each, stack) for each in zip(sides, plans, tags, legends, strict=True)]
        taken = [(run, each.links) for run, each in zip(runs, plans, strict=True)]
        result = runs[0].result
        problem = read_bag(
            reader,
            stamps.topics,
            taken,
            lambda done, total: on_progress(done, total, result),
            needed=packets_to_decode(stamps, [each.partners for each in plans]),
        )
        for run in runs:
            run.finish()
    return [
        conclude(
            run, provenance(side.options, side.engine, [side.options.bag], started_s), each, problem
        )
        for side, run, each in zip(sides, runs, plans, strict=True)
    ]


def conclude(run: Run, facts: dict[str, object], planned: Plan, problem: str) -> Evaluation:
    """Return what a run found that is over.

    Args:
        run: what was counted.
        facts: of `provenance`.
        planned: what belongs together.
        problem: what could not be read, empty if nothing.
    """
    report = run.report(facts, problem, planned.findings)
    return Evaluation(report, bool(problem), run.first_drops, run.unknown_labels)


def _make_run(
    side: Side, planned: Plan, tags: TagTimeline | None, legends: Legends, stack: ExitStack
) -> Run:
    frames = recorder = None
    if side.frame_table is not None:
        names = side.engine.label_map.class_names
        frames = stack.enter_context(FrameTableWriter(side.frame_table, names))
    if side.recording is not None:
        recorder = OfflineRecorder(side.recording, side.options, side.engine, planned.pairs)
    run = Run(
        side.options,
        side.engine,
        frames,
        side.on_frame,
        recorder=recorder,
        tags=tags,
        legends=legends,
    )
    run.count_lost(planned.lost)
    return run


def check_topics(options: OfflineOptions) -> None:
    """Complain about a bag or its topics before a network is loaded.

    Raises:
        ConfigurationError: a topic cannot be used.
        BagError: nothing of the bag can be read.
    """
    with BagReader(options.bag) as reader:
        check_reader(options, reader)


def provenance(
    options: OfflineOptions, engine: Engine, bags: list[str], started_s: float
) -> dict[str, object]:
    """Return what was evaluated, with what, where and when; JSON types.

    Args:
        options: how.
        engine: with what.
        bags: what.
        started_s: when that began, seconds since the epoch.
    """
    return {
        **engine.provenance,
        "configuration": configuration(options, engine),
        "command": "deeplab-miou evaluate",
        "mode": "offline",
        "bags": bags,
        "input_topic": options.input_topic,
        "label_topic": options.label_topic,
        "depth_topic": options.depth_topic or None,
        "sync_tolerance_s": options.sync_tolerance,
        "start_s": options.start,
        "duration_s": options.duration or None,
        "tags": options.tags or options.tags_topic or None,
        "absent_classes": options.absent_classes,
        "class_weights": list(options.class_weights),
        "started": utc(started_s),
        "ended": utc(time.time()),
        **environment(engine.device),
    }


def configuration(options: OfflineOptions, engine: Engine) -> str:
    """Return a digest of all that decides a report but the bag itself.

    Files count by what is in them, whatever they are called.
    """
    chosen = {
        each.name: getattr(declared, each.name)
        for declared in (options, options.engine)
        for each in options_of(type(declared))
        if each.name not in _FILES
    }
    decisive = json.dumps(
        [
            *(engine.configuration, engine.device, options.prediction_topic),
            *(chosen, tags_digest(options), __version__),
        ]
    )
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]


def check_class_weights(options: OfflineOptions, engine: Engine) -> None:
    """Complain about weights that do not fit the classes.

    Raises:
        ConfigurationError: they do not.
    """
    try:
        check_weights(options.class_weights or None, engine.label_map.num_classes)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def check_reader(options: OfflineOptions, reader: BagReader) -> None:
    """Complain about the topics of an open bag.

    Raises:
        ConfigurationError: one cannot be used.
    """
    options.check_tags()
    check_label_info(reader, options.engine)
    for topic in options.topics:
        info = reader.require(topic, (*IMAGE_TYPES, *VIDEO_TYPES))
        if info.type in VIDEO_TYPES:
            _check_video(options, topic, info.type)
        if info.serialization != "cdr":
            raise ConfigurationError(
                f"topic {topic!r} of bag {options.bag!r} is serialised as {info.serialization!r}, "
                f"expected 'cdr' as ROS 2 writes it"
            )
    for topic in options.depth_topics:
        reader.require(topic, IMAGE_TYPES)
        if topic in options.topics:
            raise ConfigurationError(
                f"topic {topic!r} is given for depth images and for {_other(options, topic)}: name "
                "three topics"
            )
    if options.input_topic == options.label_topic:
        raise ConfigurationError(
            f"topic {options.label_topic!r} is given for both images and labels: name two topics"
        )


def _other(options: OfflineOptions, topic: str) -> str:
    return "labels" if topic == options.label_topic else "images"


def _check_video(options: OfflineOptions, topic: str, kind: str) -> None:
    """Complain about a video of labels, and where none can be decoded."""
    if topic == options.label_topic or options.prediction_topic:
        raise ConfigurationError(
            f"topic {topic!r} of bag {options.bag!r} is a video ({kind}), which changes ids and "
            f"colours: expected labels of type {' or '.join(IMAGE_TYPES)}"
        )
    check_installed()
