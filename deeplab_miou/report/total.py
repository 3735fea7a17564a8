"""One report for several bags, added up from the report of each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Account
from deeplab_miou.aggregation.results import Deferred, Result, Scoring, Totals, score
from deeplab_miou.metric.bootstrap import Intervals, IouStatistics, find_intervals
from deeplab_miou.metric.drives import MIN_DRIVES, DriveSums, whole_drives
from deeplab_miou.metric.image_scores import DriveImages
from deeplab_miou.metric.region_scores import contrast, labelled_in_both
from deeplab_miou.metric.resampling import Resampling
from deeplab_miou.metric.scores import class_counts
from deeplab_miou.metric.worst_frames import WorstFrame
from deeplab_miou.report.report import BagResult, Report, Status
from deeplab_miou.report.slice_total import SliceTotal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.metric.counts import Axes
    from deeplab_miou.metric.region_scores import Contrast
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
        self._images = DriveImages(len(axes.classes), block_s=options.bootstrap_block_s)
        # Intersection and union of each drive, of the whole frames first: (1 + r, 2, n).
        self._drives: list[NDArray[np.int64]] = []
        self._account = Account()
        self._results: list[BagResult] = []
        self._worst: list[WorstFrame[object]] = []
        self._doubtful: list[str] = []
        self._slices = SliceTotal(len(axes.classes), options.bootstrap_block_s)

    def add_failed(self, name: str, bag: str, problem: str) -> BagResult:
        """Note a bag that could not be read at all."""
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
        self._slices.add(stored, table)
        self._images.add(table.overlaps, table.labelled > 0, table.stamps_ns.tolist())
        if self._axes.regions:
            self._drives.append(class_counts(stored.counts.stack))
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
        regions = {
            name: Result(
                (each := totals.region(name)),
                score(each.counts.matrix, scoring),
                self._region_intervals(index, statistics),
            )
            for index, name in enumerate(self._axes.regions)
        }
        return Report(
            Result(
                totals,
                score(self._counts.matrix, scoring),
                find_intervals(self._sums.read(), statistics, Resampling()),
                worst=tuple(worst[:_MOST_WORST]),
                regions=regions,
                contrasts=Deferred(partial(self._contrasts, regions)),
                slices=self._slices.results(self._axes.classes, scoring),
                slice_contrasts=Deferred(self._slices.contrasts),
                tag_doubts=tuple(self._slices.doubts),
                image_scores=self._images.scores(),
            ),
            provenance=provenance,
            palette=self._palette,
            problems=[f"{each.name}: {each.problem}" for each in self._results if each.problem],
            damaged=not all(each.is_whole for each in self._results),
            bags=self._results,
            other_doubts=_doubts(self._doubtful, len(self._results)),
        )

    def _contrasts(self, regions: Mapping[str, Result]) -> dict[str, Contrast]:
        return {
            name: contrast(
                whole_drives(self._drives),
                index,
                labelled_in_both(self._counts.matrix, each.totals.counts.matrix),
            )
            for index, (name, each) in enumerate(regions.items())
            if each.intervals is not None and each.intervals.reason is None
        }

    def _region_intervals(self, region: int, statistics: IouStatistics) -> Intervals:
        """Resample drives, not blocks of time: the frames' tables have no regions."""
        drives = [each[1 + region] for each in self._drives if each[1 + region, 1].any()]
        if len(drives) >= MIN_DRIVES:
            return find_intervals(whole_drives(drives), statistics, Resampling())
        return Intervals.none(
            len(self._axes.classes),
            len(drives),
            f"an interval of a region of several bags needs {MIN_DRIVES} bags with labelled pixels "
            f"in it, but there are {len(drives)}",
            "drives",
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
