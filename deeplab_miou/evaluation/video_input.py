"""The thread that decodes a video topic and adds its pictures to a pipeline."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.errors import FrameError
from deeplab_miou.images.cdr import read_packet, read_stamp
from deeplab_miou.video.stream import VideoStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.pipeline import Pipeline
    from deeplab_miou.images.messages import VideoPacket
    from deeplab_miou.video.decoder import Decoded

# More than a decoder needs to get over a key frame.
_MOST_PACKETS = 64
_MOST_BYTES = 1 << 26
# After this long, pictures that the decoder holds back are taken as they are.
_IDLE_S = 1.0


class _Message(NamedTuple):
    """A packet as it arrived, and whether those before it were dropped."""

    kind: str
    data: bytes
    is_after_gap: bool


class VideoInput:
    """Decodes packets in the order of their arrival: all of them, because each builds on others.

    A packet that finds too many waiting is dropped, and with it the pictures that build on it.
    While the pipeline drops nothing, because its source can wait, whoever puts a packet waits.

    Args:
        pipeline: what gets the pictures.
        after_each: called after each packet, from the thread that decodes; may wait.
        on_error: called with an exception that ended the thread.
        most_packets: as many wait at most.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        after_each: Callable[[], None],
        on_error: Callable[[BaseException], None],
        most_packets: int = _MOST_PACKETS,
    ) -> None:
        self._pipeline = pipeline
        self._after_each = after_each
        self._on_error = on_error
        self._most_packets = most_packets
        self._changed = threading.Condition()
        self._waiting: deque[_Message] = deque()
        self._bytes = 0
        self._is_after_gap = False
        self._is_ending = False
        self._stream: VideoStream[VideoPacket] = VideoStream()
        self._thread = threading.Thread(target=self._run, name="deeplab-miou-video", daemon=True)
        self._thread.start()

    def put(self, kind: str, data: bytes) -> None:
        """Have a packet decoded; one thread puts them.

        Args:
            kind: type of the message, one of `VIDEO_TYPES`.
            data: the serialised message.
        """
        if not self._put(kind, data):
            full = FrameError(
                Reason.QUEUE_FULL, "packets of the video arrive faster than they can be decoded"
            )
            self._pipeline.reject(Stream.IMAGE, read_stamp(data) or 0, "", full)

    def stop(self) -> None:
        """Decode what waits and end the thread."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _put(self, kind: str, data: bytes) -> bool:
        with self._changed:
            if self._pipeline.queue.drops_nothing:
                self._changed.wait_for(lambda: not self._is_full or self._is_ending)
            elif self._is_full:
                self._is_after_gap = True
                return False
            self._waiting.append(_Message(kind, data, self._is_after_gap))
            self._bytes += len(data)
            self._is_after_gap = False
            self._changed.notify_all()
            return True

    @property
    def _is_full(self) -> bool:
        # One alone is taken, whatever its size.
        return len(self._waiting) >= self._most_packets or (
            self._bytes > _MOST_BYTES and bool(self._waiting)
        )

    def _take(self) -> _Message | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._is_ending, _IDLE_S)
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            self._bytes -= len(message.data)
            self._changed.notify_all()
            return message

    def _run(self) -> None:
        try:
            while (message := self._take()) or not self._is_ending:
                if message is not None:
                    self._decode(message)
                    self._after_each()
                elif self._stream.is_waiting:
                    self._add(self._stream.finish())
                    self._after_each()
            self._add(self._stream.finish())
        except BaseException as error:  # noqa: BLE001  (handed over, never swallowed)
            with self._changed:
                self._is_ending = True
                self._changed.notify_all()
            self._on_error(error)

    def _decode(self, message: _Message) -> None:
        if message.is_after_gap:
            self._stream.lose("packets before it arrived faster than they could be decoded")
        stamp_ns, frame_id = read_stamp(message.data) or 0, ""
        try:
            try:
                packet = read_packet(message.data, message.kind)
            except FrameError as error:
                self._stream.lose(str(error))
                raise
            stamp_ns, frame_id = packet.stamp_ns, packet.frame_id
            self._add(self._stream.take(packet, packet))
        except FrameError as error:
            self._pipeline.reject(Stream.IMAGE, stamp_ns, frame_id, error)

    def _add(self, pictures: list[Decoded[VideoPacket]]) -> None:
        for each in pictures:
            packet = each.token
            self._pipeline.add(Stream.IMAGE, packet.stamp_ns, packet.frame_id, each.image())
