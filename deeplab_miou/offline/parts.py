"""A bag evaluated in parts, by processes that share nothing, and put together again.

Each process sends what became of each frame, without pictures: its counts take about a kilobyte.
What puts the parts together runs them through the same `Run`, in the order in which one process
would have met them, so that all numbers are the same.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.evaluation.outcomes import Arrival, FrameOutcome
from deeplab_miou.evaluation.run_state import RunPosition
from deeplab_miou.images.messages import RawImage
from deeplab_miou.metric.confusion import from_cells, to_cells
from deeplab_miou.metric.counts import Counts
from deeplab_miou.offline.checks import check_evaluation
from deeplab_miou.offline.evaluation import conclude
from deeplab_miou.offline.label_info import read_legends
from deeplab_miou.offline.plan import Links
from deeplab_miou.offline.preparation import prepare
from deeplab_miou.offline.provenance import provenance
from deeplab_miou.offline.reading import read_bag
from deeplab_miou.offline.run import Run
from deeplab_miou.offline.sections import split_bag
from deeplab_miou.offline.stamps import read_stamps
from deeplab_miou.report.frame_table import FrameTableWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.accounting import Reason
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.metric.counts import Axes
    from deeplab_miou.offline.evaluation import Evaluation
    from deeplab_miou.offline.plan import Plan
    from deeplab_miou.offline.sections import Section
    from deeplab_miou.offline.worst_pictures import PictureKey
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.tags.timeline import TagTimeline

_NOTHING = RawImage(0, 0, "", is_bigendian=False, step=0, data=b"")


class Cells(NamedTuple):
    """A frame's counts, as many numbers as it has kinds of pixels.

    Attributes:
        cells: of `to_cells`, of the whole frame and its regions.
        counts: likewise.
        ignored: as in `Counts`.
        unmapped: likewise.
        mistakes: likewise.
        depth: likewise.
    """

    cells: NDArray[np.uint32]
    counts: NDArray[np.uint64]
    ignored: int
    unmapped: int
    mistakes: NDArray[np.int64]
    depth: NDArray[np.int64]


class BareOutcome(NamedTuple):
    """An outcome without its pictures.

    Attributes:
        image_ns: stamp of the image, None if there is none in this outcome.
        label_ns: likewise of the label.
        reason: why it was not evaluated, None if it was.
        explanation: one line for people; empty if evaluated.
        counted: None if not evaluated.
    """

    image_ns: int | None
    label_ns: int | None
    reason: Reason | None
    explanation: str
    counted: Cells | None


@dataclass(frozen=True, eq=False)
class SectionResult:
    """What one section gave.

    Attributes:
        outcomes: in order.
        pictures: of the worst frames; their places are indices of the outcomes.
        unknown_labels: as in `Run`.
        problem: what could not be read, empty if nothing.
        depth_problem: as in `Run`.
    """

    outcomes: list[BareOutcome]
    pictures: Mapping[PictureKey, NDArray[np.uint8]]
    unknown_labels: str
    problem: str
    depth_problem: str = ""


@dataclass(frozen=True, eq=False)
class Division:
    """A bag that is going to be evaluated in parts.

    Attributes:
        plan: what belongs together; without the links, which the sections have.
        sections: what each part is about.
        started_s: when this began, seconds since the epoch.
        tags: of the bag; None for no tags.
    """

    plan: Plan
    sections: list[Section]
    started_s: float
    tags: TagTimeline | None = None


def divide(options: OfflineOptions, engine: Engine, most_frames: int) -> Division:
    """Read the stamps of a bag and divide it into sections; a damaged bag is one section.

    Args:
        options: what and how.
        engine: with what.
        most_frames: pairs in a section.

    Raises:
        ConfigurationError: a topic cannot be used, or weights do not fit the classes.
        BagError: nothing of the bag can be read.
    """
    started_s = time.time()
    with BagReader(options.bag) as reader:
        check_evaluation(options, engine, reader)
        stamps = read_stamps(reader, options.topics, depth_topics=options.depth_topics)
        prepared = prepare(reader, stamps, options, engine)
        # Which messages are missing from part of the time, an index does not tell.
        frames = most_frames if not reader.problems else len(stamps.topic) + 1
    links = prepared.plan.links
    sections = split_bag(stamps, links, frames)
    nothing = links.partners[:0]
    rest = replace(prepared.plan, links=Links(nothing, nothing))
    return Division(rest, sections, started_s, prepared.tags)


def score_section(options: OfflineOptions, engine: Engine, section: Section) -> SectionResult:
    """Score a section of a bag.

    Raises:
        ConfigurationError, BagError: the bag can no longer be read.
    """
    outcomes: list[BareOutcome] = []
    with BagReader(options.bag) as reader:
        legends = Legends()
        if options.engine.label_info_topic or options.engine.prediction_label_info_topic:
            # Names apply to all later images, so they are read from the beginning.
            legends = read_legends(reader, read_stamps(reader, options.topics), options, engine)
        run = Run(
            options,
            engine,
            on_outcome=lambda outcome: outcomes.append(_bare(outcome)),
            legends=legends,
        )
        problem = read_bag(
            reader,
            tuple(dict.fromkeys((*options.topics, *options.depth_topics))),
            [(run, section.links)],
            lambda _done, _total: None,
            section.span,
            needed=section.needed,
        )
        run.finish()
    pictures = {key._replace(place=key.place - 1): each for key, each in run.pictures().items()}
    return SectionResult(outcomes, pictures, run.unknown_labels, problem, run.depth_problem)


def merge(
    options: OfflineOptions,
    engine: Engine,
    division: Division,
    parts: Sequence[SectionResult],
    frame_table: Path | None,
) -> Evaluation:
    """Put the parts of a bag together.

    Args:
        options: what and how.
        engine: with what.
        division: of the bag.
        parts: one for each section, in their order.
        frame_table: where to write the counts of each frame; None for nowhere.

    Raises:
        DeeplabMiouError: the table cannot be written.
    """
    names = engine.label_map.class_names
    pictures: dict[PictureKey, NDArray[np.uint8]] = {}
    place = 0
    with ExitStack() as stack:
        frames = None
        if frame_table is not None:
            frames = stack.enter_context(FrameTableWriter(frame_table, names))
        run = Run(options, engine, frames, tags=division.tags)
        run.count_lost(division.plan.lost)
        for part in parts:
            pictures |= {
                key._replace(place=place + key.place + 1): each
                for key, each in part.pictures.items()
            }
            for outcome in part.outcomes:
                place += 1
                run.replay(_restored(outcome, place, engine.axes))
    run.unknown_labels = next((each.unknown_labels for each in parts if each.unknown_labels), "")
    run.depth_problem = next((each.depth_problem for each in parts if each.depth_problem), "")
    run.finish_with(pictures)
    problem = next((each.problem for each in parts if each.problem), "")
    facts = provenance(options, engine, [options.bag], division.started_s)
    return conclude(run, facts, division.plan, problem)


def _bare(outcome: FrameOutcome) -> BareOutcome:
    counted = None
    if outcome.counts is not None:
        counts = outcome.counts
        counted = Cells(
            *to_cells(counts.stack),
            ignored=counts.ignored,
            unmapped=counts.unmapped,
            mistakes=counts.mistakes,
            depth=counts.depth,
        )
    image, label = outcome.image, outcome.label
    return BareOutcome(
        None if image is None else image.stamp_ns,
        None if label is None else label.stamp_ns,
        outcome.reason,
        outcome.explanation,
        counted,
    )


def _restored(bare: BareOutcome, place: int, axes: Axes) -> FrameOutcome:
    counts = None
    if bare.counted is not None:
        cells, numbers, ignored, unmapped, mistakes, depth = bare.counted
        stack = from_cells(cells, numbers, len(axes.classes), 1 + len(axes.regions))
        counts = Counts.of_stack(stack, 1, ignored, unmapped, mistakes, depth=depth)
    image, label = (
        None if stamp_ns is None else Arrival(stamp_ns, "", _NOTHING, 0.0, 0)
        for stamp_ns in (bare.image_ns, bare.label_ns)
    )
    return FrameOutcome(image, label, bare.reason, bare.explanation, RunPosition(0, place), counts)
