"""From serialised messages to a pipeline: the way in of a live evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.video_input import VideoInput
from deeplab_miou.images.cdr import VIDEO_TYPES, read_image, read_stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.pipeline import Pipeline


class Intake:
    """Adds images, labels, depth images and videos to a pipeline; the thread that receives calls.

    Args:
        pipeline: what they are added to.
        on_arrival: called with the stream of each image or label that arrives, and its stamp if
            that can be read.
        on_readable: called with the stream and stamp of each image or label that can be read,
            before it is added; not for a video's packets.
        after_each: called after each message, for a video from the thread that decodes it; may
            wait.
        on_error: called with an exception that ended the thread of a video.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        on_arrival: Callable[[Stream, int | None], None],
        on_readable: Callable[[Stream, int], None],
        after_each: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._pipeline = pipeline
        self._on_arrival = on_arrival
        self._on_readable = on_readable
        self._after_each = after_each
        self._on_error = on_error
        self._video: VideoInput | None = None

    def take(self, stream: Stream, kind: str, data: memoryview | bytes) -> None:
        """Add an image or a label; what cannot be read is counted.

        Args:
            stream: which of the two.
            kind: type of the message.
            data: the serialised message (CDR).
        """
        if kind in VIDEO_TYPES:
            self._take_packet(kind, bytes(data))
            return
        try:
            stamped = read_image(data, kind)
        except FrameError as error:
            stamp_ns = read_stamp(data)
            self._on_arrival(stream, stamp_ns)
            self._pipeline.reject(stream, stamp_ns or 0, "", error)
        else:
            self._on_arrival(stream, stamped.stamp_ns)
            self._on_readable(stream, stamped.stamp_ns)
            self._pipeline.add(stream, *stamped)
        self._after_each()

    def take_depth(self, kind: str, data: memoryview | bytes) -> None:
        """Add a depth image; arguments as those of `take`."""
        try:
            self._pipeline.add_depth(*read_image(data, kind))
        except FrameError:
            # A pair that has its stamp is told that its depth image cannot be used.
            self._pipeline.add_depth(read_stamp(data) or 0, "", None)
        self._after_each()

    def stop(self) -> None:
        """Decode what waits of a video and end its thread."""
        if self._video is not None:
            self._video.stop()
            self._video = None

    def _take_packet(self, kind: str, data: bytes) -> None:
        """Leave a packet to the thread that decodes, which the first one starts."""
        if self._video is None:
            self._video = VideoInput(
                self._pipeline, after_each=self._after_each, on_error=self._on_error
            )
        self._on_arrival(Stream.IMAGE, read_stamp(data))
        self._video.put(kind, data)
