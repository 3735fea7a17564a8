"""Evaluates several bags with one network, saving each result as soon as it is finished."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.checks import check_class_weights
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.offline.provenance import configuration, provenance
from deeplab_miou.report.criteria import check_names
from deeplab_miou.report.files import BAGS_NAME, check_directory, write_report
from deeplab_miou.report.frame_table import FRAMES_NAME
from deeplab_miou.report.judging import judge
from deeplab_miou.report.stored import read_finished, read_report
from deeplab_miou.report.total import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.offline.bag_list import NamedBag
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.report.criteria import Criterion
    from deeplab_miou.report.report import BagResult, Report
    from deeplab_miou.report.stored import StoredReport


class ProgressListener(Protocol):
    """Receives progress reports."""

    def begun(self, name: str) -> None:
        """A bag is being evaluated."""

    def read(self, done: int, total: int, result: Callable[[], Result]) -> None:
        """So many of its messages have been read, and this returns its scores so far."""

    def ended(self, result: BagResult, *, earlier: bool) -> None:
        """A bag is finished, or was by an earlier run."""


def evaluate_many(
    bags: Sequence[NamedBag],
    options: OfflineOptions,
    output: Path,
    listener: ProgressListener,
    criteria: Sequence[Criterion] = (),
) -> Report:
    """Evaluate bags, write a report for each and one for all.

    A bag that an earlier run has finished with the same network, label map, options and version is
    not evaluated again, unless its files changed since. All numbers of the whole come from what
    lies on disk, so they are the same however often the work was interrupted.

    Args:
        bags: which.
        options: how; ``bag`` does not matter.
        output: folder for all reports.
        listener: follows the progress.
        criteria: what the score of all bags together must reach.

    Raises:
        ConfigurationError: checkpoint, label map, weights or device cannot be used.
        DeeplabMiouError: a report cannot be written.
    """
    started_s = time.time()
    with closing(build_engine(options.engine)) as engine:
        check_class_weights(options, engine)
        label_map = engine.label_map
        check_names(criteria, engine.axes)
        total = Total(engine.axes, label_map.palette, options)
        work = _Work(options, engine, output / BAGS_NAME, listener)
        for bag in bags:
            listener.begun(bag.name)
            work.take(bag, total)
        report = total.report(provenance(options, engine, [bag.path for bag in bags], started_s))
    report = replace(report, criteria=judge(criteria, report.to_dict()))
    write_report(report, output)
    return report


class _Work:
    """Evaluates one bag after another.

    Args:
        options: how.
        engine: with what.
        output: folder for the reports of all bags.
        listener: follows the progress.
    """

    def __init__(
        self, options: OfflineOptions, engine: Engine, output: Path, listener: ProgressListener
    ) -> None:
        self._options = options
        self._engine = engine
        self._configuration = configuration(options, engine)
        self._output = output
        self._listener = listener

    def take(self, bag: NamedBag, total: Total) -> None:
        """Add a bag to the total, from an earlier run if there is one."""
        facts: dict[str, object] = {
            "configuration": self._configuration,
            "bag_state": bag_state(bag.path),
        }
        earlier = read_finished(self._output / bag.name, facts)
        if earlier is None:
            # What cannot be written is not the fault of the bag.
            check_directory(str(self._output / bag.name))
        try:
            stored = earlier or self._evaluate(bag, facts)
        except (BagError, ConfigurationError) as error:
            result = total.add_failed(bag.name, bag.path, str(error))
        else:
            result = total.add(bag.name, bag.path, stored)
        self._listener.ended(result, earlier=earlier is not None)

    def _evaluate(self, bag: NamedBag, facts: dict[str, object]) -> StoredReport:
        """Evaluate a bag and write its report.

        Raises:
            BagError: nothing of it could be read.
            ConfigurationError: there is none, or it lacks a topic.
        """
        folder = self._output / bag.name
        found = evaluate(
            replace(self._options, bag=bag.path),
            self._listener.read,
            folder / FRAMES_NAME,
            self._engine,
        )
        provenance_of_bag = {**found.report.provenance, **facts}
        write_report(replace(found.report, provenance=provenance_of_bag), folder)
        return read_report(folder)


def bag_state(bag: str) -> str:
    """Return a digest of where a bag lies and of its files' names, sizes and times."""
    path = Path(bag)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        states = [[each.name, each.stat().st_size, each.stat().st_mtime_ns] for each in files]
    except OSError:
        states = []  # what is wrong shows when it is read
    decisive = json.dumps([os.path.realpath(bag), states])
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]
