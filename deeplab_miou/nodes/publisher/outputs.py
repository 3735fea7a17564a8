"""What ``miou_publisher`` publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import ClassIoU, MeanIoU, RegionIoU, SliceScore
from sensor_msgs.msg import Image

from deeplab_miou.nodes.ros.conversions import image_to_message, ns_to_time, stream_account
from deeplab_miou.nodes.ros.diagnostics import Diagnostics
from deeplab_miou.nodes.ros.qos import LATCHED
from deeplab_miou.pictures.matrix import draw_matrix
from deeplab_miou.recording.fields import class_fields, mean_iou_fields, region_fields, slice_fields

if TYPE_CHECKING:
    from rclpy.node import Node

    from deeplab_miou.aggregation.results import Result


class PublisherOutputs:
    """Publishes scores and pictures; a picture that nobody looks at is not drawn.

    Args:
        node: the node that publishes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._results = node.create_publisher(MeanIoU, "~/result", LATCHED)
        self._windows = node.create_publisher(MeanIoU, "~/window", LATCHED)
        self._pictures = node.create_publisher(Image, "~/confusion_image", 1)
        self.diagnostics = Diagnostics(node, "scores")
        self.criteria = Diagnostics(node, "criteria")

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._results, self._windows, self._pictures):
            self._node.destroy_publisher(publisher)
        self.diagnostics.destroy()
        self.criteria.destroy()

    def scores(self, result: Result, window: Result) -> None:
        """Publish the scores of all and of the window, and the confusion matrix as a picture.

        Nothing before the first state: rqt_plot gives up on a class that a message lacks for good.
        """
        for publisher, scored in ((self._results, result), (self._windows, window)):
            if scored.totals.class_names:
                publisher.publish(mean_iou_message(scored))
        totals = result.totals
        if totals.class_names and self._pictures.get_subscription_count():
            picture = draw_matrix(totals.counts.matrix, totals.class_names)
            self._pictures.publish(image_to_message(picture, "rgb8", totals.stamp_ns, ""))


def mean_iou_message(result: Result) -> MeanIoU:
    """Return scores and counts; NaN while no frame is counted."""
    account = result.totals.account
    message = MeanIoU(
        **mean_iou_fields(result),
        classes=_classes(result),
        regions=[
            RegionIoU(**region_fields(name, each), classes=_classes(each))
            for name, each in result.regions.items()
        ],
        slices=[
            SliceScore(**slice_fields(tag, each), classes=_classes(each))
            for tag, each in result.slices.items()
        ],
        images=stream_account(account.images),
        labels=stream_account(account.labels),
    )
    message.header.stamp = ns_to_time(result.totals.stamp_ns)
    return message


def _classes(result: Result) -> list[ClassIoU]:
    return [ClassIoU(**each) for each in class_fields(result)]
