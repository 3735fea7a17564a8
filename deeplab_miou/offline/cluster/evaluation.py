"""Evaluates bags on a Ray cluster: the reports of one process, made by many."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deeplab_miou.errors import BagError, ConfigurationError, DeeplabMiouError
from deeplab_miou.offline.cluster.pool import Task
from deeplab_miou.offline.cluster.worker import Finished
from deeplab_miou.offline.many_bags import bag_state
from deeplab_miou.offline.parts import Division, SectionResult
from deeplab_miou.report.criteria import check_names
from deeplab_miou.report.files import BAGS_NAME, check_directory, write_report
from deeplab_miou.report.frame_table import FRAMES_NAME
from deeplab_miou.report.judging import judge
from deeplab_miou.report.provenance import utc
from deeplab_miou.report.stored import read_finished
from deeplab_miou.report.total import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deeplab_miou.offline.bag_list import NamedBag
    from deeplab_miou.offline.cluster.pool import Pool
    from deeplab_miou.offline.evaluation import Evaluation
    from deeplab_miou.offline.many_bags import ProgressListener
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.report.criteria import Criterion
    from deeplab_miou.report.report import Report

# Some 20 seconds of a fast GPU: what a lost worker costs, and what each report of one weighs.
SECTION_FRAMES = 2000


def evaluate_on(
    pool: Pool,
    options: OfflineOptions,
    frame_table: Path | None = None,
    criteria: Sequence[Criterion] = (),
) -> Evaluation:
    """Evaluate one bag.

    Args:
        pool: whose workers have the same options.
        options: what and how.
        frame_table: where to write the counts of each frame; None for nowhere.
        criteria: what the score must reach.

    Raises:
        ConfigurationError: a topic, checkpoint, label map or device cannot be used.
        BagError: nothing of the bag can be read, or workers were lost with it again and again.
    """
    outcomes: list[Finished | DeeplabMiouError] = []
    check_names(criteria, pool.facts().axes)
    work = _Work({options.bag: options.bag}, lambda _name, found: outcomes.append(found))
    pool.run(work.tasks(), work.take)
    (outcome,) = outcomes
    if isinstance(outcome, DeeplabMiouError):
        raise outcome
    if frame_table is not None:
        _write_table(frame_table, outcome.frame_table)
    report = outcome.evaluation.report
    report = replace(report, provenance={**report.provenance, "bags": [options.bag]})
    report = replace(report, criteria=judge(criteria, report.to_dict()))
    return replace(outcome.evaluation, report=report)


def evaluate_many_on(
    pool: Pool,
    bags: Sequence[NamedBag],
    options: OfflineOptions,
    output: Path,
    listener: ProgressListener,
    *,
    criteria: Sequence[Criterion] = (),
) -> Report:
    """Evaluate bags, write a report for each and one for all, see `evaluate_many`.

    Args:
        pool: whose workers have the same options.
        bags: which.
        options: how; ``bag`` does not matter.
        output: folder for all reports, of this machine.
        listener: gets the outcome of each bag, in their order.
        criteria: what the score of all bags together must reach.

    Raises:
        ConfigurationError: checkpoint, label map or device cannot be used.
        DeeplabMiouError: a report cannot be written.
    """
    started_s = time.time()
    facts = pool.facts()
    check_names(criteria, facts.axes)
    folder = _Folder(bags, facts.configuration, output / BAGS_NAME, listener)
    total = Total(facts.axes, facts.palette, options)
    work = _Work(folder.missing(), folder.put)

    def take(task: Task, value: object) -> list[Task]:
        following = work.take(task, value)
        folder.add_to(total)
        return following

    folder.add_to(total)
    pool.run(work.tasks(), take)
    provenance = {
        **facts.provenance,
        "bags": [bag.path for bag in bags],
        "started": utc(started_s),
        "ended": utc(time.time()),
    }
    report = total.report(provenance)
    report = replace(report, criteria=judge(criteria, report.to_dict()))
    write_report(report, output)
    return report


@dataclass(eq=False)
class _Underway:
    """A bag that is being evaluated; its parts come in any order."""

    division: Division
    parts: list[SectionResult | None]


class _Work:
    """Which task follows from which: a bag is divided, its sections are scored, then merged.

    Args:
        bags: paths by name.
        put: given a name, and what became of the bag.
    """

    def __init__(
        self,
        bags: dict[str, str],
        put: Callable[[str, Finished | DeeplabMiouError], None],
    ) -> None:
        self._paths = {name: os.path.abspath(path) for name, path in bags.items()}  # noqa: PTH100
        self._put = put
        self._underway: dict[str, _Underway] = {}
        self._ended: set[str] = set()

    def tasks(self) -> list[Task]:
        """Return what to begin with."""
        return [Task(name, "divide", (path, SECTION_FRAMES)) for name, path in self._paths.items()]

    def take(self, task: Task, value: object) -> list[Task]:
        """Take the value of a task, or the error that ended it; return what follows."""
        name = task.bag
        if name in self._ended:
            return []
        if isinstance(value, (Finished, DeeplabMiouError)):
            self._ended.add(name)
            self._underway.pop(name, None)
            self._put(name, value)
            return []
        path = self._paths[name]
        if isinstance(value, Division):
            self._underway[name] = _Underway(value, [None] * len(value.sections))
            return [
                Task(name, "score", (path, section), part)
                for part, section in enumerate(value.sections)
            ]
        assert isinstance(value, SectionResult)  # noqa: S101  (there is nothing else)
        underway = self._underway[name]
        underway.parts[task.part] = value
        if any(part is None for part in underway.parts):
            return []
        return [Task(name, "merge", (path, underway.division, underway.parts))]


class _Folder:
    """The results of many bags on disk, added up in the order of the bags.

    Args:
        bags: which.
        configuration: of the workers.
        folder: holds a folder for each bag.
        listener: gets the outcome of each bag.
    """

    def __init__(
        self, bags: Sequence[NamedBag], configuration: str, folder: Path, listener: ProgressListener
    ) -> None:
        self._folder = folder
        self._listener = listener
        self._left = list(bags)
        self._facts: dict[str, dict[str, object]] = {
            bag.name: {"configuration": configuration, "bag_state": bag_state(bag.path)}
            for bag in bags
        }
        self._failed: dict[str, str] = {}
        self._missing: dict[str, str] = {}
        for bag in bags:
            if read_finished(folder / bag.name, self._facts[bag.name]) is None:
                check_directory(str(folder / bag.name))
                self._missing[bag.name] = bag.path
        self._earlier = {bag.name for bag in bags} - self._missing.keys()

    def missing(self) -> dict[str, str]:
        """Return the paths of the bags that have to be evaluated, by name."""
        return dict(self._missing)

    def put(self, name: str, outcome: Finished | DeeplabMiouError) -> None:
        """Write what became of a bag.

        Raises:
            DeeplabMiouError: it cannot be written, or it is not the fault of the bag.
        """
        path = self._missing.pop(name)
        if isinstance(outcome, (BagError, ConfigurationError)):
            self._failed[name] = str(outcome)
            return
        if isinstance(outcome, DeeplabMiouError):
            raise outcome
        folder = self._folder / name
        _write_table(folder / FRAMES_NAME, outcome.frame_table)
        report = outcome.evaluation.report
        facts = {**report.provenance, "bags": [path], **self._facts[name]}
        write_report(replace(report, provenance=facts), folder)

    def add_to(self, total: Total) -> None:
        """Add the bags that are there, as far as none before them is missing."""
        while self._left and self._left[0].name not in self._missing:
            bag = self._left.pop(0)
            problem = self._failed.get(bag.name)
            stored = None
            if problem is None:
                stored = read_finished(self._folder / bag.name, self._facts[bag.name])
                problem = "its report was removed meanwhile"
            result = (
                total.add_failed(bag.name, bag.path, problem)
                if stored is None
                else total.add(bag.name, bag.path, stored)
            )
            self._listener.ended(result, earlier=bag.name in self._earlier)


def _write_table(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise DeeplabMiouError(
            f"table of frames {str(path)!r} cannot be written: {error.strerror or error}"
        ) from error
