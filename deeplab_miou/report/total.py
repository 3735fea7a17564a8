"""One report for several bags, added up from the report of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Account
from deeplab_miou.aggregation.results import Result, Scoring, Totals, score
from deeplab_miou.metric.bootstrap import IouStatistics, find_intervals
from deeplab_miou.metric.drives import DriveSums
from deeplab_miou.metric.resampling import Resampling
from deeplab_miou.metric.worst_frames import WorstFrame
from deeplab_miou.report.report import BagResult, Report, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.metric.counts import Axes
    from deeplab_miou.options.scoring import ScoreOptions
    from deeplab_miou.report.stored import StoredReport

_MOST_WORST = 6
_SHOWN_NAMES = 5


class Total:
    """Adds up bags; holds one frame's counts of each, whatever their length.

    Args:
        axes: classes and regions.
        palette: (n, 3) uint8 RGB of the classes.
        options: how scores are computed.
    """

    def __init__(self, axes: Axes, palette: NDArray[np.uint8], options: ScoreOptions) -> None:
        self._axes = axes
        self._palette = palette
        self._options = options
        self._counts = axes.zero()
        self._sums = DriveSums((2, len(axes.classes)), block_s=options.bootstrap_block_s)
        self._account = Account()
        self._results: list[BagResult] = []
        self._worst: list[WorstFrame[object]] = []
        self._doubtful: list[str] = []

    def add_failed(self, name: str, bag: str, problem: str) -> BagResult:
        """Note a bag of which nothing could be read."""
        self._results.append(BagResult(name, bag, "failed", problem=problem))
        return self._results[-1]

    def add(self, name: str, bag: str, stored: StoredReport) -> BagResult:
        """Add a bag's report.

        Raises:
            DeeplabMiouError: its table of frames cannot be read.
        """
        content, table = stored.content, stored.table()
        self._counts += stored.counts
        self._sums.add(table.overlaps, table.stamps_ns)
        self._account += stored.account
        self._worst += [self._worst_frame(name, each) for each in content["worst_frames"]]
        self._doubtful += [name] if stored.doubts else []
        status: Status = "damaged" if content["damaged"] else "evaluated"
        if status == "evaluated" and not stored.counts.matrix.any():
            status = "nothing evaluated"
        self._results.append(
            BagResult(
                name,
                bag,
                status,
                frames=content["frames"],
                miou=stored.number("miou"),
                miou_lower=stored.number("miou_lower"),
                miou_upper=stored.number("miou_upper"),
                problem="; ".join(content["problems"]),
            )
        )
        return self._results[-1]

    def report(self, provenance: dict[str, object]) -> Report:
        """Return the report of all bags so far.

        Args:
            provenance: of all of them.
        """
        options = self._options
        statistics = IouStatistics(np.ones(len(self._axes.classes)), options.absent_classes)
        worst = sorted(self._worst, key=lambda each: (each.miou, each.source, each.stamp_ns))
        scoring = Scoring(options.absent_classes, options.class_weights)
        totals = Totals(
            self._axes.classes,
            self._counts,
            account=self._account,
            region_names=self._axes.regions,
        )
        regions = {name: totals.region(name) for name in self._axes.regions}
        return Report.of(
            Result(
                totals,
                score(self._counts.matrix, scoring),
                find_intervals(self._sums.read(), statistics, Resampling()),
                worst=tuple(worst[:_MOST_WORST]),
                # The frames' tables have no regions, so there is nothing to resample.
                regions={
                    name: Result(each, score(each.counts.matrix, scoring))
                    for name, each in regions.items()
                },
            ),
            provenance=provenance,
            palette=self._palette,
            problems=[f"{each.name}: {each.problem}" for each in self._results if each.problem],
            damaged=not all(each.is_whole for each in self._results),
            bags=self._results,
            other_doubts=_doubts(self._doubtful, len(self._results)),
        )

    def _worst_frame(self, name: str, found: dict[str, object]) -> WorstFrame[object]:
        names = (*self._axes.classes, "invalid prediction")
        truth, prediction = (names.index(str(found[key])) for key in ("ground_truth", "prediction"))
        return WorstFrame(
            stamp_ns=int(str(found["stamp_ns"])),
            source=name,
            miou=float(str(found["miou"])),
            wrong=float(str(found["wrong"])),
            confusion=(truth, prediction, int(str(found["pixels"]))),
            evidence=None,
        )


def _doubts(names: Sequence[str], count: int) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
    return [f"{len(names)} of {count} bags have a doubtful score of their own ({shown})"]
