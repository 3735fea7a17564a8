"""One video: packets in, pictures out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from deeplab_miou.video.continuity import Continuity, NoPictureError
from deeplab_miou.video.decoder import Decoder

if TYPE_CHECKING:
    from deeplab_miou.images.messages import VideoPacket
    from deeplab_miou.video.decoder import Decoded

T = TypeVar("T")


class VideoStream(Generic[T]):
    """Takes the packets of a topic in their order; one thread."""

    def __init__(self) -> None:
        self._continuity = Continuity()
        self._decoder: Decoder[T] | None = None

    def take(self, packet: VideoPacket, token: T, *, decode: bool = True) -> list[Decoded[T]]:
        """Take the next packet, and return what it and perhaps some before it give.

        Args:
            packet: the packet.
            token: comes back with its picture.
            decode: whether its picture is wanted, or one that builds on it. Else only headers are
                read.

        Raises:
            FrameError: its headers tell that its picture cannot be had, or not be trusted. Pictures
                of packets before it still come.
            ConfigurationError: PyAV is not installed.
        """
        try:
            seen = self._continuity.check(packet)
        except NoPictureError as error:
            if decode and self._decoder is not None and self._decoder.codec is error.codec:
                self._decoder.feed(error.data)
            elif decode:
                self._decoder = Decoder(error.codec)
                self._decoder.feed(error.data)
            raise
        if not decode:
            return []
        left: list[Decoded[T]] = []
        if self._decoder is None or self._decoder.codec is not seen.codec:
            left = self.finish()
            self._decoder = Decoder(seen.codec)
        return left + self._decoder.decode(seen.data, token, is_key=seen.is_key)

    def lose(self, text: str) -> None:
        """Take note that packets are missing here, and why, a line for people."""
        self._continuity.lose(text)

    def finish(self) -> list[Decoded[T]]:
        """Return the pictures that are left when no more packets come, or not for some time."""
        return [] if self._decoder is None else self._decoder.finish()

    @property
    def is_waiting(self) -> bool:
        """Whether pictures are left that are shown after some that have not come yet."""
        return self._decoder is not None and self._decoder.is_waiting
