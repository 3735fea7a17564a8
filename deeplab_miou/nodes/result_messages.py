"""Results as messages: scores, diagnostics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from deeplab_miou_msgs.msg import ClassIoU, MeanIoU
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from deeplab_miou.nodes.conversions import ns_to_time, stream_account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.aggregation.results import Result, Totals


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


class PublisherStatus:
    """What ``miou_publisher`` says of itself in ``/diagnostics``.

    Levels: ERROR when the last report could not be written; WARN when no evaluator is heard, or
    since the last diagnostics messages were refused or outcomes of frames went missing; OK else.
    """

    def __init__(self) -> None:
        self.report_error = ""
        self._refused = 0
        self._missing = 0

    def report(
        self,
        totals: Totals,
        ages: Mapping[str, float],
        refused: Mapping[str, int],
        silence: str,
    ) -> DiagnosticStatus:
        """Return level, one line and details.

        Args:
            totals: what has been counted.
            ages: seconds since each evaluator was last heard.
            refused: messages refused, by kind.
            silence: what is not heard though it should be; empty if all is.
        """
        refused_now = sum(refused.values())
        news = []
        if refused_now > self._refused:
            news.append(f"{refused_now - self._refused} messages refused")
        if totals.missing_frames > self._missing:
            lost = totals.missing_frames - self._missing
            news.append(f"{lost} frame outcomes missing from window and intervals")
        self._refused, self._missing = refused_now, totals.missing_frames
        if self.report_error:
            level, text = DiagnosticStatus.ERROR, self.report_error
        elif silence or news:
            level, text = DiagnosticStatus.WARN, silence or ", ".join(news)
        else:
            count = len(totals.sources)
            level, text = DiagnosticStatus.OK, f"{totals.frames} frames of {count} evaluator(s)"
        values = {
            "frames": totals.frames,
            "missing frames": totals.missing_frames,
            "sources": ", ".join(totals.sources),
            "images received": totals.images.received,
            "images waiting": totals.images.waiting,
            "labels received": totals.labels.received,
            "labels waiting": totals.labels.waiting,
            "age of the newest state (s)": f"{min(ages.values()):.1f}" if ages else "",
            **{f"age of {source} (s)": f"{age:.1f}" for source, age in sorted(ages.items())},
            "messages refused": refused_now,
            **{f"refused: {kind}": number for kind, number in sorted(refused.items())},
        }
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return DiagnosticStatus(level=level, message=text, values=pairs)
