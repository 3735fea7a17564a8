"""How a replay works with the publisher of the result."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import MeanIoU
from rclpy.qos import QoSProfile

from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.nodes.replayer.graph import LinkError, TriggerClient
from deeplab_miou.nodes.ros.conversions import stream_counts
from deeplab_miou.nodes.ros.node_names import node_of
from deeplab_miou.pacing.accounts import Done

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.node import Node

_WARNING_PERIOD_S = 5.0
_POLL_S = 0.02


class PublisherLink:
    """The publisher of the result: knows when it has counted everything, lets it save its report.

    Args:
        node: the node that plays; somebody else spins it.
        name: fully qualified name of the publisher.

    Attributes:
        report_saver: has the publisher write its report.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self.name = name
        self._changed = threading.Condition()
        self._done = Done(0, 0, 0)
        self.report_saver = TriggerClient(node, f"{name}/save_report")
        self._results = node.create_subscription(
            MeanIoU, f"{name}/result", self._take, QoSProfile(depth=10)
        )

    def connect(self, evaluators: Sequence[str], timeout_s: float) -> None:
        """Wait until the publisher can be heard, and listens to evaluators.

        Args:
            evaluators: those whose frames it is expected to count.
            timeout_s: how long to wait.

        Raises:
            LinkError: it is not ready in time; the message says what is missing.
        """
        deadline_s = time.monotonic() + timeout_s
        while lack := self._missing(evaluators):
            if time.monotonic() >= deadline_s:
                raise LinkError(f"publisher {self.name} is not ready after {timeout_s:g} s: {lack}")
            time.sleep(_POLL_S)

    def wait_for(self, expected: Done, timeout_s: float) -> None:
        """Wait until the result holds all that the evaluators have done.

        Raises:
            LinkError: it does not in time.
        """

        def complete() -> bool:
            return all(done >= least for done, least in zip(self._done, expected, strict=True))

        with self._changed:
            if not self._changed.wait_for(complete, timeout_s):
                raise LinkError(
                    f"publisher {self.name} shows {self._done.frames} frames on {self.name}/result "
                    f"after {timeout_s:g} s, of {self._done.images} images and "
                    f"{self._done.labels} labels; the evaluators have scored {expected.frames}, of "
                    f"{expected.images} and {expected.labels}"
                )

    def _missing(self, evaluators: Sequence[str]) -> str:
        if not self._results.get_publisher_count():
            return f"nobody publishes {self.name}/result"
        for topic in (f"{name}/{base}" for name in evaluators for base in ("confusion", "frame")):
            endpoints = self._node.get_subscriptions_info_by_topic(topic)
            if self.name not in map(node_of, endpoints):
                return f"it does not subscribe to {topic}; is it active?"
        return ""

    def _take(self, message: MeanIoU) -> None:
        try:
            images, labels = stream_counts(message.images), stream_counts(message.labels)
        except RefusedError as error:
            text = f"result of {self.name} refused: {error}"
            self._node.get_logger().warning(text, throttle_duration_sec=_WARNING_PERIOD_S)
            return
        with self._changed:
            self._done = Done(message.frames, images.ended, labels.ended)
            self._changed.notify_all()
