"""Evaluates a bag: the same pipeline that live nodes run, and the same report."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.checks import check_evaluation, check_topics
from deeplab_miou.offline.preparation import prepare
from deeplab_miou.offline.provenance import provenance
from deeplab_miou.offline.reading import read_bag
from deeplab_miou.offline.recorder import OfflineRecorder
from deeplab_miou.offline.run import Run
from deeplab_miou.offline.stamps import read_stamps
from deeplab_miou.offline.video import packets_to_decode
from deeplab_miou.report.criteria import check_names
from deeplab_miou.report.frame_table import FrameTableWriter
from deeplab_miou.report.judging import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.offline.plan import Plan
    from deeplab_miou.offline.preparation import Preparation
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.recording.recording import Recording
    from deeplab_miou.report.criteria import Criterion
    from deeplab_miou.report.report import Report

    OnProgress = Callable[[int, int, Callable[[], Result]], None]


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
        on_frame: called with each evaluated frame and its prediction; None if not needed.
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
            check_evaluation(side.options, side.engine, reader)
        measured = [topic for side in sides for topic in side.options.depth_topics]
        stamps = read_stamps(reader, topics, depth_topics=measured)
        prepared = [prepare(reader, stamps, each.options, each.engine) for each in sides]
        plans = [each.plan for each in prepared]
        runs = [_make_run(*each, stack) for each in zip(sides, prepared, strict=True)]
        taken = [(run, each.links) for run, each in zip(runs, plans, strict=True)]
        result = runs[0].result
        problem = read_bag(
            reader,
            stamps.topics,
            taken,
            lambda done, total: on_progress(done, total, result),
            needed=packets_to_decode(stamps, [each.links.partners for each in plans]),
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


def _make_run(side: Side, prepared: Preparation, stack: ExitStack) -> Run:
    frames = recorder = None
    if side.frame_table is not None:
        names = side.engine.label_map.class_names
        frames = stack.enter_context(FrameTableWriter(side.frame_table, names))
    if side.recording is not None:
        recorder = OfflineRecorder(side.recording, side.options, side.engine, prepared.plan.pairs)
    run = Run(
        side.options,
        side.engine,
        frames,
        side.on_frame,
        recorder=recorder,
        tags=prepared.tags,
        legends=prepared.legends,
    )
    run.count_lost(prepared.plan.lost)
    return run
