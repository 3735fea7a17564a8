"""What our messages say, as plain values by the names of their fields."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.error_types import TYPES, mistake_shares
from deeplab_miou.metric.image_scores import IMAGE_FIELDS, ImageScores
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.metric.stamp_offsets import Offsets

if TYPE_CHECKING:
    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.metric.counts import Counts
    from deeplab_miou.tags.timeline import Tag


def mean_iou_fields(result: Result) -> dict[str, Any]:
    """Return the fields of ``MeanIoU`` but for header, classes, parts and the two accounts.

    Args:
        result: scores and counts; NaN before the first state.
    """
    totals, scores, intervals = result.totals, result.scores, result.intervals
    lower, upper = result.miou_interval
    anytime = (math.nan, math.nan) if intervals is None else intervals.miou_anytime
    if intervals is not None:
        note = intervals.reason or ""
    else:
        note = "only ~/result has intervals" if totals.class_names else "nothing counted yet"
    offsets = result.offsets or Offsets()
    images = ImageScores() if result.image_scores is None else result.image_scores
    return {
        **{name: float(getattr(scores, name)) for name in HEADLINES},
        "miou_lower": lower,
        "miou_upper": upper,
        "frames": totals.counts.frames,
        "missing_frames": totals.missing_frames,
        "labelled_pixels": totals.counts.pixels,
        "ignored_pixels": totals.counts.ignored,
        "unmapped_pixels": totals.counts.unmapped,
        "present_classes": int(np.count_nonzero(~np.isnan(scores.iou))),
        "sources": list(totals.sources),
        "interval_note": note,
        "miou_anytime_lower": float(anytime[0]),
        "miou_anytime_upper": float(anytime[1]),
        "offset_median": offsets.median_s,
        "offset_largest": offsets.largest_s,
        "offset_note": offsets.hint,
        **depth_fields(totals.counts),
        **{
            f"{name}{end}": getattr(getattr(images, key), bound)
            for key, name in IMAGE_FIELDS.items()
            for end, bound in (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
        },
    }


def depth_fields(counts: Counts) -> dict[str, int]:
    """Return what depth regions do not contain, by the names of `DEPTH`; 0 without any."""
    values = counts.depth.tolist() or [0] * len(DEPTH)
    return dict(zip(DEPTH, values, strict=True))


def region_fields(name: str, result: Result) -> dict[str, Any]:
    """Return the fields of ``RegionIoU`` but for its classes.

    Args:
        name: the region's.
        result: its scores.
    """
    fields = mean_iou_fields(result)
    own = ("miou", "miou_lower", "miou_upper", "interval_note", "labelled_pixels")
    return {"name": name, **{key: fields[key] for key in own}}


def slice_fields(tag: Tag, result: Result) -> dict[str, Any]:
    """Return the fields of ``SliceScore`` but for its classes.

    Args:
        tag: what its frames have in common.
        result: its scores.
    """
    fields = mean_iou_fields(result)
    own = ("frames", "miou", "miou_lower", "miou_upper", "interval_note", "labelled_pixels")
    return {**tag._asdict(), **{key: fields[key] for key in own}}


def class_fields(result: Result) -> list[dict[str, Any]]:
    """Return the fields of ``ClassIoU`` for each class; none before the first state."""
    scores = result.scores
    bounds = [result.iou_interval(i) for i in range(len(result.totals.class_names))]
    mistakes = mistake_shares(result.totals.counts)
    return [
        {
            "id": i,
            "name": name,
            "iou": float(scores.iou[i]),
            "iou_lower": bounds[i][0],
            "iou_upper": bounds[i][1],
            "precision": float(scores.precision[i]),
            "recall": float(scores.recall[i]),
            "f1": float(scores.f1[i]),
            "true_positive": int(scores.true_positive[i]),
            "false_positive": int(scores.false_positive[i]),
            "false_negative": int(scores.false_negative[i]),
            **{f"{kind}_errors": float(mistakes[kind][i]) for kind in TYPES},
            "boundary_iou": float(mistakes["boundary_iou"][i]),
        }
        for i, name in enumerate(result.totals.class_names)
    ]
