"""Records what ``miou_publisher`` publishes and hears, in a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.images.messages import RawImage
from deeplab_miou.nodes.ros.conversions import time_to_ns
from deeplab_miou.pictures.reduced import OVERLAY_SIDE, reduced_jpeg
from deeplab_miou.recording.recording import (
    MOST_FRAMES,
    MOST_OVERLAYS,
    MOST_SCORES,
    Recording,
    Thinning,
    scores_size,
)
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deeplab_miou_msgs.msg import FrameScore
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    from deeplab_miou.aggregation.results import Result

# An uint32 and an uint64 for each cell of a frame that is not 0, and what all frames have.
_BYTES_OF_A_CELL, _BYTES_OF_A_FRAME = 12, 300
_PICTURES = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_OVERLAY_PERIOD_S = 0.5
# 480 pixels on the longer side, as a JPEG.
_BYTES_OF_AN_OVERLAY = 30_000
# What waits for the disk; the scores are the same with what does not fit as without.
_MOST_WAITING = 1000


class PublisherRecorder:
    """Writes a recording; what a slow disk has no time for is left out, and a line says so.

    Args:
        node: the publisher.
        folder: of the recording, which does not exist yet.
        on_error: called with an exception that is not the disk's fault.

    Raises:
        ConfigurationError: it exists, or nothing can be written there.
    """

    def __init__(self, node: Node, folder: str, on_error: Callable[[BaseException], None]) -> None:
        self._node = node
        self._on_error = on_error
        self._throttle = Throttle()
        self._recording = Recording(
            folder, node.get_fully_qualified_name(), node.get_logger().error
        )
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._scores = Thinning(MOST_SCORES)
        # Each is used by the one thread that takes such messages.
        self._frames: dict[str, Thinning] = {}
        self._overlays: dict[str, tuple[Thinning, float]] = {}
        self._subscriptions: list[Subscription] = []
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why the recording ended early; empty if it did not."""
        return self._recording.problem

    def open(self, sources: Sequence[str]) -> None:
        """Begin to record the overlays of evaluators.

        Args:
            sources: their fully qualified names.
        """
        for source in sources:
            self._overlays[source] = Thinning(MOST_OVERLAYS), 0.0
            self._subscriptions.append(
                self._node.create_subscription(
                    Image, f"{source}/overlay", self._taker(source), _PICTURES
                )
            )

    def close_inputs(self) -> None:
        """Take no more overlays."""
        while self._subscriptions:
            self._node.destroy_subscription(self._subscriptions.pop())

    def scores(self, result: Result, window: Result, *, is_last: bool = False) -> None:
        """Record what is published.

        Args:
            result: of all frames.
            window: of the window.
            is_last: record it in any case.
        """
        if result.totals.counts.frames and (
            self._scores.take(scores_size(result, window)) or is_last
        ):
            self._put(lambda: self._recording.result(result))
            self._put(lambda: self._recording.window(window))

    def frame(self, message: FrameScore) -> None:
        """Record the outcome of a frame."""
        cells = len(message.cells) + len(message.region_cells)
        size = _BYTES_OF_A_FRAME + _BYTES_OF_A_CELL * cells
        if self._frames.setdefault(message.source, Thinning(MOST_FRAMES)).take(size):
            stamp_ns = time_to_ns(message.header.stamp)
            self._put(
                lambda: self._recording.frame(message.source, stamp_ns, serialize_message(message))
            )

    def close(self) -> None:
        """Write what waits, and the index."""
        self.close_inputs()
        self._waiting.put(None)
        self._thread.join()
        self._recording.close()

    def _taker(self, source: str) -> Callable[[Image], None]:
        def take(message: Image) -> None:
            thinning, taken_s = self._overlays[source]
            now_s = time.monotonic()
            if now_s - taken_s < _OVERLAY_PERIOD_S or not thinning.take(_BYTES_OF_AN_OVERLAY):
                return
            self._overlays[source] = thinning, now_s
            self._put(lambda: self._overlay(source, message))

        return take

    def _overlay(self, source: str, message: Image) -> None:
        view = RawImage(
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            is_bigendian=bool(message.is_bigendian),
            step=message.step,
            data=message.data,
        )
        try:
            jpeg = reduced_jpeg(decode_color(view), OVERLAY_SIDE)
        except FrameError as error:
            if self._throttle.admit("overlay") is not None:
                self._node.get_logger().warning(f"overlay of {source} is not recorded: {error}")
            return
        stamp_ns = time_to_ns(message.header.stamp)
        self._recording.overlay(source, stamp_ns, message.header.frame_id, jpeg)

    def _put(self, write: Callable[[], None]) -> None:
        try:
            self._waiting.put_nowait(write)
        except queue.Full:
            if self._throttle.admit("full") is not None:
                self._node.get_logger().warning(
                    "the recording has gaps: the disk or the machine is too slow for it"
                )

    def _write(self) -> None:
        while (write := self._waiting.get()) is not None:
            try:
                write()
            except BaseException as error:  # noqa: BLE001  handed over, never swallowed
                self._on_error(error)
