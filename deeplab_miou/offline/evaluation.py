"""Evaluates a bag: the same pipeline that live nodes run, and the same report."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deeplab_miou import __version__
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.images.cdr import IMAGE_TYPES
from deeplab_miou.metric.scores import check_weights
from deeplab_miou.offline.plan import plan
from deeplab_miou.offline.run import Run
from deeplab_miou.options.declaration import options_of
from deeplab_miou.report.criteria import check_classes, judge
from deeplab_miou.report.frame_table import FrameTableWriter
from deeplab_miou.report.provenance import environment, utc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.report.criteria import Criterion
    from deeplab_miou.report.report import Report

# Options that name files, of which the engine's own digest knows the content.
_FILES = ("checkpoint", "labels", "prediction_labels")


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


def evaluate(
    options: OfflineOptions,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    frame_table: Path | None = None,
    engine: Engine | None = None,
    criteria: Sequence[Criterion] = (),
) -> Evaluation:
    """Evaluate a bag.

    Args:
        options: what and how.
        on_progress: called after each message with how many were read, and how many there are.
        frame_table: where to write the counts of each frame; nowhere by default.
        engine: what `build_engine` made of ``options.engine``, to be used again; made and closed
            here by default.
        criteria: what the score must reach.

    Raises:
        ConfigurationError: a topic, checkpoint, label map or device cannot be used.
        BagError: nothing of the bag can be read.
    """
    started_s = time.time()
    with BagReader(options.bag) as reader, ExitStack() as stack:
        _check(options, reader)
        planned = plan(reader, options)
        if engine is None:
            engine = build_engine(options.engine)
            stack.callback(engine.close)
        check_class_weights(options, engine)
        names = engine.label_map.class_names
        check_classes(criteria, names)
        with FrameTableWriter(frame_table, names) if frame_table else nullcontext() as frames:
            run = Run(options, engine, frames)
            problem = run.read(reader, planned.partners, on_progress)
    report = run.report(
        provenance(options, engine, [options.bag], started_s),
        problem,
        planned.findings,
        planned.offsets,
    )
    report = replace(report, criteria=judge(criteria, report.to_dict()))
    return Evaluation(report, bool(problem), run.first_drops, run.unknown_labels)


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
        "sync_tolerance_s": options.sync_tolerance,
        "start_s": options.start,
        "duration_s": options.duration or None,
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
        [engine.configuration, engine.device, options.prediction_topic, chosen, __version__]
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


def _check(options: OfflineOptions, reader: BagReader) -> None:
    """Complain about topics before the network is loaded."""
    for topic in options.topics:
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
