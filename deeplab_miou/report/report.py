"""The record of an evaluation, live or offline."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.error_types import TYPES, mistake_shares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.metric.bootstrap import Intervals, Timeline
    from deeplab_miou.metric.region_scores import Contrast
    from deeplab_miou.metric.worst_frames import WorstFrame
    from deeplab_miou.report.judging import Judgement

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

    @classmethod
    def of_only(
        cls, name: str, bag: str, *, pixels: int, damaged: bool, problems: Sequence[str]
    ) -> BagResult:
        """Return the outcome of a bag that is the only one.

        Args:
            name: of its folder or file.
            bag: where it lies.
            pixels: that were scored.
            damaged: as of `Report`.
            problems: likewise.
        """
        status: Status = "evaluated" if pixels else "nothing evaluated"
        return cls(name, bag, "damaged" if damaged else status, problem="; ".join(problems))


@dataclass(frozen=True, eq=False)
class Report:
    """The result of an evaluation, and what else a reader of it should know.

    Attributes:
        result: all that was counted, and its scores.
        provenance: what was evaluated, with what, where and when; JSON types.
        window: the newest frames, where a window is kept.
        problems: what could not be read or is otherwise missing from the score, a line each.
        pictures: for each worst frame uint8 RGB ``(h, w, 3)``, for the page; empty where there are
            none.
        region_pictures: likewise for the worst frames of each region by its name.
        palette: (n, 3) uint8 RGB of the classes, for the page; None if it is not known.
        damaged: a bag could not be read to its end.
        bags: what became of each of many bags; empty for a single one.
        other_doubts: what else makes the score doubtful, a line each.
        criteria: what was asked of the score, and what became of it.

    Raises:
        DeeplabMiouError: nothing has been counted yet.
    """

    result: Result
    provenance: Mapping[str, object] = field(default_factory=dict)
    window: Result | None = None
    problems: Sequence[str] = ()
    pictures: Sequence[NDArray[np.uint8]] = ()
    region_pictures: Mapping[str, Sequence[NDArray[np.uint8]]] = field(default_factory=dict)
    palette: NDArray[np.uint8] | None = None
    damaged: bool = False
    bags: Sequence[BagResult] = ()
    other_doubts: Sequence[str] = ()
    criteria: Sequence[Judgement] = ()

    def __post_init__(self) -> None:
        if not self.result.totals.class_names:
            raise DeeplabMiouError("no report: nothing has been counted yet")

    @property
    def doubts(self) -> list[str]:
        """What suggests that the score is not that of the network, a line each."""
        offsets = self.result.offsets
        return [
            *self.result.totals.doubts,
            *([offsets.hint] if offsets is not None and offsets.hint else ()),
            *self.result.tag_doubts,
            *self.other_doubts,
        ]

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain JSON types; what is undefined (NaN) is None."""
        result = self.result
        counts, contrasts = result.totals.counts, result.contrasts()
        slice_contrasts = result.slice_contrasts()
        return plain(
            {
                "schema_version": SCHEMA_VERSION,
                **_scored_dict(result),
                "ignored_pixels": counts.ignored,
                "unmapped_pixels": counts.unmapped,
                "accounting": result.totals.account.to_dict(),
                "stamp_offsets": None if result.offsets is None else result.offsets.to_dict(),
                "damaged": self.damaged,
                "problems": self.problems,
                "doubts": self.doubts,
                "window": None if self.window is None else _window_dict(self.window),
                "mistakes": counts.mistakes.tolist(),
                "depth": dict(zip(DEPTH, counts.depth.tolist(), strict=False)) or None,
                "image_scores": None
                if result.image_scores is None
                else asdict(result.image_scores),
                "regions": [
                    {
                        "name": name,
                        **_scored_dict(each),
                        "contrast": _contrast_dict(contrasts.get(name)),
                    }
                    for name, each in result.regions.items()
                ],
                "slices": [
                    {
                        **tag._asdict(),
                        **_scored_dict(each),
                        "contrast": _contrast_dict(slice_contrasts.get(tag)),
                    }
                    for tag, each in result.slices.items()
                ],
                "tags": [each._asdict() for each in result.tag_changes],
                "criteria": [each.to_dict() for each in self.criteria],
                "bags": [asdict(each) for each in self.bags],
                "provenance": self.provenance,
            }
        )


def _scored_dict(result: Result) -> dict[str, object]:
    """Return what the whole frames and each region have alike."""
    lower, upper = result.miou_interval
    class_names, counts = result.totals.class_names, result.totals.counts
    scores = result.scores.to_dict(class_names)
    classes = scores.pop("classes")
    return {
        **scores,
        "miou_lower": lower,
        "miou_upper": upper,
        "frames": counts.frames,
        "classes": _with_intervals(classes, result),
        "confusion": counts.matrix.tolist(),
        "intervals": _intervals_dict(result.intervals),
        "worst_frames": [_worst_dict(frame, class_names) for frame in result.worst],
        "timeline": _timeline_dict(result.timeline),
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


def _worst_dict(frame: WorstFrame[object], class_names: Sequence[str]) -> dict[str, object]:
    truth, prediction, pixels = frame.confusion
    return {
        "stamp_ns": frame.stamp_ns,
        "source": frame.source,
        "miou": frame.miou,
        "wrong": frame.wrong,
        "ground_truth": class_names[truth],
        "prediction": (*class_names, "invalid prediction")[prediction],
        "pixels": pixels,
    }


def _with_intervals(classes: object, result: Result) -> list[dict[str, object]]:
    if not isinstance(classes, list):
        raise TypeError(f"expected a list of classes, got {type(classes).__name__}")
    rows: list[dict[str, object]] = []
    counts = result.totals.counts
    mistakes = mistake_shares(counts) if len(counts.mistakes) else {}
    for entry in classes:
        lower, upper = result.iou_interval(entry["id"])
        head = {key: entry[key] for key in ("id", "name", "iou")}
        shares = {
            f"{name}_errors" if name in TYPES else name: float(values[entry["id"]])
            for name, values in mistakes.items()
        }
        rows.append({**head, "iou_lower": lower, "iou_upper": upper, **entry, **shares})
    return rows


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


def _window_dict(window: Result) -> dict[str, object]:
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
