"""Results as messages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from deeplab_miou_msgs.msg import ClassIoU, MeanIoU

from deeplab_miou.nodes.conversions import ns_to_time, stream_account

if TYPE_CHECKING:
    from deeplab_miou.aggregation.results import Result


def mean_iou_message(result: Result) -> MeanIoU:
    """Return scores and counts; NaN and no classes before the first state."""
    totals, scores, intervals = result.totals, result.scores, result.intervals
    message = MeanIoU(
        frames=totals.frames,
        missing_frames=totals.missing_frames,
        labelled_pixels=int(totals.matrix.sum()),
        ignored_pixels=totals.ignored_pixels,
        unmapped_pixels=totals.unmapped_pixels,
        sources=list(totals.sources),
        images=stream_account(totals.images),
        labels=stream_account(totals.labels),
    )
    message.header.stamp = ns_to_time(totals.stamp_ns)
    for name in (
        "miou",
        "weighted_miou",
        "frequency_weighted_iou",
        "pixel_accuracy",
        "mean_accuracy",
    ):
        setattr(message, name, math.nan if scores is None else getattr(scores, name))
    message.miou_lower = message.miou_upper = math.nan
    if intervals is None:
        message.interval_note = (
            "nothing counted yet" if scores is None else "only ~/result has intervals"
        )
    else:
        message.miou_lower, message.miou_upper = (float(bound) for bound in intervals.miou)
        message.interval_note = intervals.reason or ""
    if scores is None:
        return message
    message.present_classes = int(np.count_nonzero(~np.isnan(scores.iou)))
    message.classes = [
        ClassIoU(
            id=i,
            name=name,
            iou=float(scores.iou[i]),
            iou_lower=math.nan if intervals is None else float(intervals.iou[i][0]),
            iou_upper=math.nan if intervals is None else float(intervals.iou[i][1]),
            precision=float(scores.precision[i]),
            recall=float(scores.recall[i]),
            f1=float(scores.f1[i]),
            true_positive=int(scores.true_positive[i]),
            false_positive=int(scores.false_positive[i]),
            false_negative=int(scores.false_negative[i]),
        )
        for i, name in enumerate(totals.class_names)
    ]
    return message
