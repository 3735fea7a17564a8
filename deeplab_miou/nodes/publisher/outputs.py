"""What ``miou_publisher`` publishes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from deeplab_miou_msgs.msg import ClassIoU, MeanIoU
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.nodes.ros.conversions import image_to_message, ns_to_time, stream_account
from deeplab_miou.nodes.ros.diagnostics import Diagnostics
from deeplab_miou.pictures.matrix import draw_matrix

if TYPE_CHECKING:
    from diagnostic_msgs.msg import DiagnosticStatus
    from rclpy.node import Node

    from deeplab_miou.aggregation.results import Result

_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class PublisherOutputs:
    """Publishes scores and pictures; a picture that nobody looks at is not drawn.

    Args:
        node: the node that publishes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._results = node.create_publisher(MeanIoU, "~/result", _LATCHED)
        self._windows = node.create_publisher(MeanIoU, "~/window", _LATCHED)
        self._pictures = node.create_publisher(Image, "~/confusion_image", 1)
        self._diagnostics = Diagnostics(node, "scores")

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._results, self._windows, self._pictures):
            self._node.destroy_publisher(publisher)
        self._diagnostics.destroy()

    def scores(self, result: Result, window: Result) -> None:
        """Publish the scores of all and of the window, and the confusion matrix as a picture."""
        self._results.publish(mean_iou_message(result))
        self._windows.publish(mean_iou_message(window))
        totals = result.totals
        if totals.class_names and self._pictures.get_subscription_count():
            picture = draw_matrix(totals.counts.matrix, totals.class_names)
            self._pictures.publish(image_to_message(picture, "rgb8", totals.stamp_ns, ""))

    def diagnostics(self, status: DiagnosticStatus) -> None:
        """Publish how the node is."""
        self._diagnostics.publish(status)


def mean_iou_message(result: Result) -> MeanIoU:
    """Return scores and counts; NaN and no classes before the first state."""
    totals, scores, intervals = result.totals, result.scores, result.intervals
    message = MeanIoU(
        frames=totals.counts.frames,
        missing_frames=totals.missing_frames,
        labelled_pixels=totals.counts.pixels,
        ignored_pixels=totals.counts.ignored,
        unmapped_pixels=totals.counts.unmapped,
        sources=list(totals.sources),
        images=stream_account(totals.account.images),
        labels=stream_account(totals.account.labels),
    )
    message.header.stamp = ns_to_time(totals.stamp_ns)
    for name in HEADLINES:
        setattr(message, name, math.nan if scores is None else getattr(scores, name))
    message.miou_lower = message.miou_upper = math.nan
    message.miou_anytime_lower = message.miou_anytime_upper = math.nan
    if intervals is None:
        message.interval_note = (
            "nothing counted yet" if scores is None else "only ~/result has intervals"
        )
    else:
        message.miou_lower, message.miou_upper = intervals.miou
        message.miou_anytime_lower, message.miou_anytime_upper = intervals.miou_anytime
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
