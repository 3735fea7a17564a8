"""Decodes packets with FFmpeg, through PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.images.messages import RawImage, Undecodable
from deeplab_miou.video.continuity import MAX_PIXELS

if TYPE_CHECKING:
    import av

    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.video.codecs import Codec

T = TypeVar("T")

# Pictures that H.264 and H.265 show later than some that follow them, at most.
_MOST_DELAYED = 16
_CHANNELS = 3
_MISSING = "a picture that it refers to is missing"


@dataclass(frozen=True)
class Decoded(Generic[T]):
    """What became of one packet.

    Attributes:
        token: of the packet.
        picture: as FFmpeg gives it, or why there is none.
    """

    token: T
    picture: av.VideoFrame | Undecodable

    def image(self) -> ImageMessage:
        """Return the picture as an image of rgb8, by the colour space and range it says it has."""
        if isinstance(self.picture, Undecodable):
            return self.picture
        pixels = np.asarray(self.picture.to_ndarray(format="rgb24"), np.uint8)
        height, width = pixels.shape[:2]
        return RawImage(height, width, "rgb8", False, _CHANNELS * width, pixels.reshape(-1))  # noqa: FBT003


class Decoder(Generic[T]):
    """Decodes one video, a picture for each packet.

    Whatever is damaged spoils what builds on it, so after that nothing is decoded until a key
    frame comes.

    Args:
        codec: of the video.

    Raises:
        ConfigurationError: PyAV is not installed.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        check_installed()
        self._context = _make_context(codec)
        self._waiting: dict[int, T] = {}
        self._count = 0
        self._spoiled = ""

    def decode(self, data: bytes, token: T, *, is_key: bool) -> list[Decoded[T]]:
        """Decode a packet, and return what it and perhaps some before it give.

        A picture that is shown later, as of a video with B-frames, comes when the ones before it
        have.
        """
        if is_key:
            self._spoiled = ""
        if self._spoiled:
            return [Decoded(token, Undecodable(Reason.LOST_REFERENCE, self._spoiled))]
        place = self._count
        self._count += 1
        self._waiting[place] = token
        found, error = self._send(data, place)
        found += self._give_up(place, error)
        return found

    def feed(self, data: bytes) -> None:
        """Let the decoder see a packet of parameter sets."""
        self._send(data, -1)

    def finish(self) -> list[Decoded[T]]:
        """Return what is left when no more packets come; the next must be a key frame."""
        found, _ = self._send(None, -1)
        found += [self._missing(place) for place in list(self._waiting)]
        self._context = _make_context(self.codec)
        self._spoiled = "decoding was interrupted"
        return found

    @property
    def is_waiting(self) -> bool:
        """Whether pictures are in the decoder that are shown later."""
        return bool(self._waiting)

    def _send(self, data: bytes | None, place: int) -> tuple[list[Decoded[T]], str]:
        import av  # noqa: PLC0415  (optional)

        packet = None
        if data is not None:
            packet = av.Packet(data)
            packet.pts = place
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            return [], f"it cannot be decoded ({error.strerror})"
        except (ValueError, MemoryError) as error:
            return [], f"it cannot be decoded ({type(error).__name__}: {error})"
        found = []
        damage = ""
        for frame in frames:
            shown = frame.pts if frame.pts in self._waiting else None
            if shown is None:
                continue
            if frame.is_corrupt:
                damage = "parts of it are missing or damaged"
                found.append(self._failed(shown, damage))
            else:
                found.append(Decoded(self._waiting.pop(shown), frame))
        return found, damage

    def _give_up(self, place: int, error: str) -> list[Decoded[T]]:
        """Say what does not come any more, and what that spoils."""
        if error:
            self._spoil(error)
            # What was to be shown later may still be whole, but is not told from what is not.
            return [self._failed(each, error) for each in list(self._waiting)]
        delay = _MOST_DELAYED if self._context.has_b_frames else 0
        late = [each for each in self._waiting if each <= place - delay]
        if not late:
            return []
        if not delay:
            self._spoil(_MISSING)
        return [self._missing(each) for each in late]

    def _spoil(self, text: str) -> None:
        self._spoiled = (
            f"a packet before it was damaged or lost ({text}); pictures are scored again from the "
            "next key frame on"
        )
        self._context.flush_buffers()

    def _failed(self, place: int, text: str) -> Decoded[T]:
        text = f"picture of {self.codec.name}: {text}"
        return Decoded(self._waiting.pop(place), Undecodable(Reason.TRUNCATED_DATA, text))

    def _missing(self, place: int) -> Decoded[T]:
        text = f"picture of {self.codec.name}: {_MISSING}"
        return Decoded(self._waiting.pop(place), Undecodable(Reason.LOST_REFERENCE, text))


def check_installed() -> None:
    """Complain if videos cannot be decoded here.

    Raises:
        ConfigurationError: PyAV is not installed.
    """
    try:
        import av  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"videos need PyAV ({error}): pip install -r requirements-video.txt"
        ) from None


def _make_context(codec: Codec) -> av.VideoCodecContext:
    import av  # noqa: PLC0415  (optional)
    from av.codec.context import Flags, ThreadType  # noqa: PLC0415

    context = cast("av.VideoCodecContext", av.CodecContext.create(codec.decoder, "r"))
    # Threads that work on several pictures keep each back until others have come.
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    context.flags |= Flags.low_delay
    context.options = {"max_pixels": str(MAX_PIXELS)}
    return context
