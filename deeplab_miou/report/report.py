"""The record of an evaluation, live or offline."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.doubts import find_doubts
from deeplab_miou.metric.error_types import TYPES, mistake_shares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.accounting import Account
    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.metric.bootstrap import Intervals, Timeline
    from deeplab_miou.metric.counts import Counts
    from deeplab_miou.metric.image_scores import ImageScores
    from deeplab_miou.metric.region_scores import Contrast
    from deeplab_miou.metric.scores import Scores
    from deeplab_miou.metric.stamp_offsets import Offsets
    from deeplab_miou.metric.worst_frames import WorstFrame
    from deeplab_miou.report.criteria import Judgement
    from deeplab_miou.tags.timeline import Change, Tag

SCHEMA_VERSION = 1

Status = Literal["evaluated", "damaged", "nothing evaluated", "failed"]


@dataclass(frozen=True)
class BagResult:
    """The outcome of one of several bags.

    Attributes:
        name: unique among them; its own report lies in ``bags/NAME``.
        bag: where it lies.
        status: ``evaluated``, ``damaged`` (what could be read was evaluated), ``nothing evaluated``
            or ``failed``.
        frames: in its score.
        miou: NaN where nothing was evaluated.
        miou_lower: NaN where there is no interval.
        miou_upper: likewise.
        problem: what is wrong with it, empty if nothing.
    """

    name: str
    bag: str
    status: Status
    frames: int = 0
    miou: float = math.nan
    miou_lower: float = math.nan
    miou_upper: float = math.nan
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all of it could be read."""
        return self.status not in {"damaged", "failed"}


@dataclass(frozen=True, eq=False)
class Report:
    """Scores, the counts that they come from, and what happened to every message.

    Attributes:
        class_names: n names in id order.
        counts: pixels and frames.
        scores: of the counts.
        account: what became of every message.
        provenance: what was evaluated, with what, where and when; JSON types.
        intervals: error bars, where they were computed.
        window: the newest frames, where a window is kept.
        problems: what could not be read or is otherwise missing from the score, a line each.
        timeline: mIoU over time.
        worst_frames: the worst frames, worst first.
        pictures: for each worst frame uint8 RGB ``(h, w, 3)``, for the page; empty where there are
            none.
        palette: (n, 3) uint8 RGB of the classes, for the page; None if it is not known.
        offsets: of the stamps of labels from those of their images, where they are known.
        damaged: a bag could not be read to its end.
        bags: what became of each of many bags; empty for a single one.
        other_doubts: what else makes the score doubtful, a line each.
        criteria: what was asked of the score, and what became of it.
        regions: scores of the regions by name: of the same frames, in which ground truth outside
            the region is ignored.
        contrasts: by how much regions differ from the rest of the frames.
        image_scores: means over frames, where frames are known.
        slices: scores of the frames that have a tag in common, the lowest mIoU first.
        slice_contrasts: by how much the frames of slices differ from the others.
        tag_changes: from when on which tags were in force.
    """

    class_names: tuple[str, ...]
    counts: Counts
    scores: Scores
    account: Account
    provenance: Mapping[str, object] = field(default_factory=dict)
    intervals: Intervals | None = None
    window: Result | None = None
    problems: Sequence[str] = ()
    timeline: Timeline | None = None
    worst_frames: Sequence[WorstFrame[object]] = ()
    pictures: Sequence[NDArray[np.uint8]] = ()
    palette: NDArray[np.uint8] | None = None
    offsets: Offsets | None = None
    damaged: bool = False
    bags: Sequence[BagResult] = ()
    other_doubts: Sequence[str] = ()
    criteria: Sequence[Judgement] = ()
    regions: Mapping[str, Report] = field(default_factory=dict)
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)
    image_scores: ImageScores | None = None
    slices: Mapping[Tag, Report] = field(default_factory=dict)
    slice_contrasts: Mapping[Tag, Contrast] = field(default_factory=dict)
    tag_changes: Sequence[Change] = ()

    @classmethod
    def of(cls, result: Result, **others: Any) -> Report:  # noqa: ANN401  (each its own)
        """Return the report of a result.

        Args:
            result: the scores of all that was counted.
            others: what else is reported.

        Raises:
            DeeplabMiouError: nothing has been counted yet.
        """
        if result.scores is None:
            raise DeeplabMiouError("no report: nothing has been counted yet")
        return cls(
            class_names=result.totals.class_names,
            counts=result.totals.counts,
            scores=result.scores,
            account=result.totals.account,
            intervals=result.intervals,
            timeline=result.timeline,
            worst_frames=result.worst,
            offsets=result.offsets,
            regions={name: cls.of(each) for name, each in result.regions.items()},
            contrasts=result.contrasts(),
            image_scores=result.image_scores,
            slices={tag: cls.of(each) for tag, each in result.slices.items()},
            slice_contrasts=result.slice_contrasts(),
            tag_changes=result.tag_changes,
            **{**others, "other_doubts": [*result.tag_doubts, *others.get("other_doubts", ())]},
        )

    @property
    def doubts(self) -> list[str]:
        """What suggests that the score is not that of the network, a line each."""
        doubts = find_doubts(self.class_names, self.counts)
        if self.offsets is not None and self.offsets.hint:
            doubts.append(self.offsets.hint)
        return [*doubts, *self.other_doubts]

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

    def prediction_name(self, class_id: int) -> str:
        """Return the name of a predicted id; n stands for an invalid prediction."""
        return (*self.class_names, "invalid prediction")[class_id]

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain JSON types; what is undefined (NaN) is None."""
        return plain(
            {
                "schema_version": SCHEMA_VERSION,
                **_scored_dict(self),
                "ignored_pixels": self.counts.ignored,
                "unmapped_pixels": self.counts.unmapped,
                "accounting": self.account.to_dict(),
                "stamp_offsets": None if self.offsets is None else self.offsets.to_dict(),
                "damaged": self.damaged,
                "problems": self.problems,
                "doubts": self.doubts,
                "window": _window_dict(self.window),
                "mistakes": self.counts.mistakes.tolist(),
                "depth": dict(zip(DEPTH, self.counts.depth.tolist(), strict=False)) or None,
                "image_scores": None if self.image_scores is None else asdict(self.image_scores),
                "regions": [
                    {
                        "name": name,
                        **_scored_dict(each),
                        "contrast": _contrast_dict(self.contrasts.get(name)),
                    }
                    for name, each in self.regions.items()
                ],
                "slices": [
                    {
                        **tag._asdict(),
                        **_scored_dict(each),
                        "contrast": _contrast_dict(self.slice_contrasts.get(tag)),
                    }
                    for tag, each in self.slices.items()
                ],
                "tags": [each._asdict() for each in self.tag_changes],
                "criteria": [each.to_dict() for each in self.criteria],
                "bags": [asdict(each) for each in self.bags],
                "provenance": self.provenance,
            }
        )


def _scored_dict(report: Report) -> dict[str, object]:
    """Return what the whole frames and each region have alike."""
    lower, upper = report.miou_interval
    scores = report.scores.to_dict(report.class_names)
    classes = scores.pop("classes")
    return {
        **scores,
        "miou_lower": lower,
        "miou_upper": upper,
        "frames": report.counts.frames,
        "classes": _with_intervals(classes, report),
        "confusion": report.counts.matrix.tolist(),
        "intervals": _intervals_dict(report.intervals),
        "worst_frames": [_worst_dict(frame, report) for frame in report.worst_frames],
        "timeline": _timeline_dict(report.timeline),
    }


def _contrast_dict(contrast: Contrast | None) -> dict[str, object] | None:
    """Return inside, outside and bounds of their difference; mIoU first, then each class."""
    if contrast is None:
        return None
    return {
        "inside": contrast.inside.tolist(),
        "outside": contrast.outside.tolist(),
        "lower": contrast.bounds[:, 0].tolist(),
        "upper": contrast.bounds[:, 1].tolist(),
    }


def _worst_dict(frame: WorstFrame[object], report: Report) -> dict[str, object]:
    truth, prediction, pixels = frame.confusion
    return {
        "stamp_ns": frame.stamp_ns,
        "source": frame.source,
        "miou": frame.miou,
        "wrong": frame.wrong,
        "ground_truth": report.class_names[truth],
        "prediction": report.prediction_name(prediction),
        "pixels": pixels,
    }


def _with_intervals(classes: object, report: Report) -> list[dict[str, object]]:
    if not isinstance(classes, list):
        raise TypeError(f"expected a list of classes, got {type(classes).__name__}")
    result: list[dict[str, object]] = []
    mistakes = mistake_shares(report.counts) if len(report.counts.mistakes) else {}
    for entry in classes:
        lower, upper = report.iou_interval(entry["id"])
        head = {key: entry[key] for key in ("id", "name", "iou")}
        shares = {
            f"{name}_errors" if name in TYPES else name: float(values[entry["id"]])
            for name, values in mistakes.items()
        }
        result.append({**head, "iou_lower": lower, "iou_upper": upper, **entry, **shares})
    return result


def _intervals_dict(intervals: Intervals | None) -> dict[str, object] | None:
    if intervals is None:
        return None
    return {
        "miou": list(intervals.miou),
        "blocks": intervals.blocks,
        "resampled": intervals.unit,
        "reason": intervals.reason,
        "miou_anytime": list(intervals.miou_anytime),
        "iou_anytime": intervals.iou_anytime.tolist(),
        "anytime_reason": intervals.anytime_reason,
    }


def _window_dict(window: Result | None) -> dict[str, object] | None:
    if window is None or window.scores is None:
        return None
    totals = window.totals
    return {
        **window.scores.to_dict(totals.class_names),
        "frames": totals.counts.frames,
        "start_ns": window.start_ns,
        "end_ns": totals.stamp_ns if totals.counts.frames else None,
    }


def _timeline_dict(timeline: Timeline | None) -> dict[str, object] | None:
    if timeline is None:
        return None
    return {
        "block_ns": timeline.block_ns,
        "starts_ns": timeline.starts_ns.tolist(),
        "miou": timeline.miou.tolist(),
    }


def plain(mapping: Mapping[str, object]) -> dict[str, object]:
    """Return a mapping as plain JSON types; NaN and infinity, which JSON has not, become None."""
    return {key: _plain_value(value) for key, value in mapping.items()}


def _plain_value(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): _plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value)
