"""What is published and reported: sums over evaluators, and their scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from deeplab_miou.accounting import Account
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.doubts import find_doubts
from deeplab_miou.metric.scores import check_weights, compute_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import RunSnapshot
    from deeplab_miou.metric.bootstrap import Intervals, Timeline
    from deeplab_miou.metric.counts import Axes, Counts
    from deeplab_miou.metric.image_scores import ImageScores
    from deeplab_miou.metric.region_scores import Contrast
    from deeplab_miou.metric.scores import AbsentClasses, Scores
    from deeplab_miou.metric.stamp_offsets import Offsets
    from deeplab_miou.metric.worst_frames import WorstFrame
    from deeplab_miou.tags.timeline import Change, Tag

T = TypeVar("T")


@dataclass(frozen=True)
class Scoring:
    """How scores are computed; may change at any time.

    Attributes:
        absent_classes: ``exclude`` or ``zero``.
        class_weights: (n,) weights of the weighted mIoU; empty for all one.
    """

    absent_classes: AbsentClasses = "exclude"
    class_weights: tuple[float, ...] = ()

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The weights as `compute_scores` takes them."""
        return self.class_weights or None

    def check(self, num_classes: int) -> None:
        """Raise ConfigurationError unless there are as many weights as classes."""
        try:
            check_weights(self.weights, num_classes)
        except ValueError as error:
            raise ConfigurationError(f"parameter class_weights: {error}") from None


@dataclass(frozen=True, eq=False)
class Totals:
    """Sums over evaluators at one instant.

    Attributes:
        class_names: n names in id order; empty before the first state.
        region_names: names of the regions in the counts.
        counts: pixels and frames; of a window without ignored ones.
        missing_frames: frame outcomes known to exist that did not arrive; they lack in window and
            intervals only.
        stamp_ns: newest stamp counted, nanoseconds; 0 before the first.
        sources: the evaluators, by name.
        account: what became of every message.
        namesakes: names that several running evaluators share.
    """

    class_names: tuple[str, ...]
    counts: Counts
    missing_frames: int = 0
    stamp_ns: int = 0
    sources: tuple[str, ...] = ()
    account: Account = field(default_factory=Account)
    region_names: tuple[str, ...] = ()
    namesakes: tuple[str, ...] = ()

    @property
    def doubts(self) -> list[str]:
        """What suggests that the score is not that of the networks, a line each."""
        return [
            *(
                f"several evaluators run under the name {name}, and what each of them counts is "
                "added up: end all but one, or give each a name of its own, and reset the scores"
                for name in self.namesakes
            ),
            *find_doubts(self.class_names, self.counts, self.region_names),
        ]

    @property
    def most(self) -> int:
        """The largest of all counts; sums of it bound each of theirs."""
        streams = self.account.streams.values()
        return max(
            self.counts.pixels,
            self.counts.frames,
            self.counts.ignored,
            self.counts.unmapped,
            self.missing_frames,
            *(n for each in streams for n in (each.received, each.evaluated, each.waiting)),
            *(n for each in streams for n in each.dropped.values()),
        )

    @classmethod
    def zero(cls, axes: Axes) -> Totals:
        """Return the sums over no evaluator."""
        return cls(axes.classes, axes.zero(), region_names=axes.regions)

    @classmethod
    def of(cls, axes: Axes, run: RunSnapshot, base: RunSnapshot | None = None) -> Totals:
        """Return what a run has counted, or has counted since an earlier snapshot of it."""
        counts, account = run.counts, run.account
        if base is not None and base.reset_count == run.reset_count:
            counts = counts - base.counts
            account = account.since(base.account)
        return cls(
            axes.classes,
            counts,
            stamp_ns=run.stamp_ns if counts.frames else 0,
            account=account,
            region_names=axes.regions,
        )

    def region(self, name: str) -> Totals:
        """Return the totals of a region: all but its counts is the whole frames'."""
        counts = self.counts.region(self.region_names.index(name))
        return replace(self, counts=counts, region_names=())

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            class_names=self.class_names,
            counts=self.counts + other.counts,
            missing_frames=self.missing_frames + other.missing_frames,
            stamp_ns=max(self.stamp_ns, other.stamp_ns),
            sources=tuple(sorted({*self.sources, *other.sources})),
            account=self.account + other.account,
            region_names=self.region_names,
            namesakes=tuple(sorted({*self.namesakes, *other.namesakes})),
        )


class Deferred(Generic[T]):
    """A value that takes a while to compute, and is computed once, when first called for.

    It can be pickled if what computes it can, unlike `functools.cache`.

    Args:
        compute: returns the value.
    """

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute = compute
        self._found: tuple[T] | None = None

    def __call__(self) -> T:
        """Return the value."""
        if self._found is None:
            self._found = (self._compute(),)
        return self._found[0]


@dataclass(frozen=True, eq=False)
class Result:
    """Scores and what they were computed from.

    Attributes:
        totals: the counts; for a window those of its frames stand in place of the sums.
        scores: the scores; of no class before the first state.
        intervals: their error bars; None for a window and before the first state.
        start_ns: of a window, the oldest stamp in it, nanoseconds; None if it is empty.
        timeline: mIoU over time; None for a window and before the first state.
        worst: the worst frames heard of, worst first; none for a window.
        offsets: of the stamps of labels from those of their images; None for a window and before
            the first state.
        regions: likewise for each region by its name.
        contrasts: finds, when first called, by how much each region differs from the rest of the
            frames, which only reports say; nothing for a window.
        image_scores: means over frames; None for a window and before the first state.
        slices: the scores of the frames that have a tag in common, the lowest mIoU first; nothing
            for a window and where no tags are known.
        slice_contrasts: finds by how much the frames of each differ from the others.
        tag_doubts: what makes it doubtful which frames have which tag, a line each.
        tag_changes: from when on which tags are in force, ascending.
    """

    totals: Totals
    scores: Scores
    intervals: Intervals | None = None
    start_ns: int | None = None
    timeline: Timeline | None = None
    worst: tuple[WorstFrame[object], ...] = ()
    offsets: Offsets | None = None
    regions: Mapping[str, Result] = field(default_factory=dict)
    contrasts: Callable[[], Mapping[str, Contrast]] = dict
    image_scores: ImageScores | None = None
    slices: Mapping[Tag, Result] = field(default_factory=dict)
    slice_contrasts: Callable[[], Mapping[Tag, Contrast]] = dict
    tag_doubts: tuple[str, ...] = ()
    tag_changes: tuple[Change, ...] = ()

    @property
    def miou_interval(self) -> tuple[float, float]:
        """Bounds of mIoU; NaN where there are none."""
        if self.intervals is None:
            return math.nan, math.nan
        lower, upper = self.intervals.miou
        return float(lower), float(upper)

    def iou_interval(self, class_id: int) -> tuple[float, float]:
        """Return the bounds of one class's IoU; NaN where there are none."""
        if self.intervals is None:
            return math.nan, math.nan
        lower, upper = self.intervals.iou[class_id]
        return float(lower), float(upper)


def score(matrix: NDArray[np.int64], scoring: Scoring) -> Scores:
    """Return the scores of a matrix."""
    return compute_scores(
        matrix, absent_classes=scoring.absent_classes, class_weights=scoring.weights
    )
