"""Whether the pictures that a packet builds on are there, told from headers before decoding.

A decoder conceals what is missing: after a lost packet of H.264 or AV1 it gives wrong pictures and
no error. Both codecs count their pictures, as ``ffmpeg_image_transport`` does, so a gap shows.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.compressed import check_size
from deeplab_miou.video.codecs import codec_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeplab_miou.images.messages import VideoPacket
    from deeplab_miou.video.codecs import Codec
    from deeplab_miou.video.packet_info import Headers, PacketInfo

# 8K. Decoders hold up to 17 pictures, so that less is allowed than of a single image.
MAX_PIXELS = 7680 * 4352
# Of the highest levels of H.264 and H.265.
_MOST_PARTS = 600
_MOST_BYTES = 1 << 26
# So many stamps tell how often pictures come, and by such a part of a step they may be off.
_RECENT = 32
_SLACK = 0.25


class Seen(NamedTuple):
    """A packet whose picture can be decoded if those before it were.

    Attributes:
        codec: its codec.
        data: its data.
        begin: number of the packet with which decoding must begin; the first one is 0.
        is_key: decoding may begin with it.
    """

    codec: Codec
    data: bytes
    begin: int
    is_key: bool


class NoPictureError(FrameError):
    """A packet of parameter sets only.

    Args:
        codec: its codec.
        data: its data; a decoder needs it.
    """

    def __init__(self, codec: Codec, data: bytes) -> None:
        super().__init__(
            Reason.BAD_ENCODING,
            f"{codec.name} packet of {len(data)} bytes holds no picture, expected one in each "
            "message",
        )
        self.codec = codec
        self.data = data


class Continuity:
    """Looks at the packets of one video, in their order.

    Attributes:
        begin: number of the packet from which on packets must be looked at, and decoded, to know
            what the last one is.
    """

    def __init__(self) -> None:
        self.begin = 0
        self._count = 0
        self._codec: Codec | None = None
        self._headers: Headers | None = None
        self._parameters: int | None = None
        self._key: int | None = None
        self._earlier_key: int | None = None
        self._lost = ""
        self._forget_counts()

    def check(self, packet: VideoPacket) -> Seen:
        """Look at the next packet.

        Raises:
            FrameError: its picture cannot be had, or not be trusted.
        """
        place = self._count
        self._count += 1
        try:
            codec = codec_of(packet.encoding)
            if codec is not self._codec or self._headers is None:
                self._codec, self._headers = codec, codec.make_headers()
                self._start_anew()
                self.begin = place
            data = bytes(packet.data)
            info = _read_info(self._headers, codec, data)
        except FrameError as error:
            self.lose(f"the packet at {packet.stamp_ns} ns could not be read: {error}")
            raise
        if info.has_parameters:
            self._parameters = place
        if not info.pictures:
            raise NoPictureError(codec, data)
        if info.is_key:
            self._begin_with(place, codec)
        begin = self._find_begin(info, codec)
        self._compare(packet, info, codec)
        if self._lost:
            raise FrameError(Reason.LOST_REFERENCE, self._lost)
        self.begin = begin
        return Seen(codec, data, begin, info.is_key)

    def lose(self, text: str) -> None:
        """Take note that a packet is missing, and why, a line for people."""
        self._lost = self._lost or f"{text}; pictures are scored again from the next key frame on"

    def _start_anew(self) -> None:
        self._parameters = self._key = self._earlier_key = None
        self._lost = ""
        self._forget_counts()

    def _forget_counts(self) -> None:
        self._expected: int | None = None
        self._number: int | None = None
        self._counts_by_one = False
        self._skipped = ""
        self._stamps: deque[int] = deque(maxlen=_RECENT)

    def _begin_with(self, place: int, codec: Codec) -> None:
        if self._parameters is None:
            raise FrameError(
                Reason.NO_KEY_FRAME,
                f"a key frame of {codec.name} came without parameter sets, which must precede "
                "each key frame (ffmpeg's dump_extra filter inserts them)",
            )
        self._earlier_key = None if self._lost else self._key
        # Whoever begins here needs the parameter sets too.
        self._key = min(place, self._parameters)
        self.begin = self._key
        self._lost = ""
        self._forget_counts()

    def _find_begin(self, info: PacketInfo, codec: Codec) -> int:
        key = self._earlier_key if info.is_leading else self._key
        if key is None:
            raise FrameError(
                Reason.NO_KEY_FRAME,
                f"no key frame of {codec.name} has arrived yet",
            )
        return key

    def _compare(self, packet: VideoPacket, info: PacketInfo, codec: Codec) -> None:
        """Compare what counts with what it should be after the packets before."""
        self._compare_numbers(info, codec)
        if info.lacks_key:
            self.lose(f"a key frame of {codec.name} was lost: the order of pictures begins anew")
        if packet.number is not None and not info.reorders:
            self._compare_counter(packet.number, _fewest_lost(info, unknown=1))
        if info.modulus:
            self._compare_stamps(packet.stamp_ns, info)

    def _compare_numbers(self, info: PacketInfo, codec: Codec) -> None:
        number = self._expected if info.number is None else info.number
        if number is None:
            return
        if self._expected is not None and number != self._expected:
            self.lose(
                f"packets were lost: picture {number} of {codec.name} follows, "
                f"{self._expected} was expected"
            )
        self._expected = (number + info.counts) % info.modulus if info.modulus else None

    def _compare_counter(self, number: int, fewest: int) -> None:
        """Compare with the counter of the messages, if it ever counts one by one.

        It counts pictures as they are shown, also those that an encoder or a camera skips; some
        publishers send a time instead.
        """
        step = 0 if self._number is None else number - self._number
        self._counts_by_one |= step == 1
        if self._number is not None and not 1 <= step <= fewest:
            self._skipped = self._skipped or f"pts {number} follows {self._number}"
        self._number = number
        if self._counts_by_one and self._skipped:
            self.lose(f"packets were lost: {self._skipped}")

    def _compare_stamps(self, stamp_ns: int, info: PacketInfo) -> None:
        """Find a pause in which a key frame may have been lost, or the codec counted once around.

        A picture that is shown after some that follow looks like one after a pause.
        """
        interval_ns = _usual_step(self._stamps)
        if interval_ns:
            pause_ns = stamp_ns - max(self._stamps)
            most = info.modulus - 1
            fewest = most if info.reorders else _fewest_lost(info, unknown=most)
            if pause_ns > (fewest + 1 - _SLACK) * interval_ns:
                self.lose(
                    f"packets may have been lost: none came for {pause_ns / 1e9:.3f} s of stamps"
                )
        self._stamps.append(stamp_ns)


def _fewest_lost(info: PacketInfo, *, unknown: int) -> int:
    """Return how many were lost at least, if any were although a picture has the number expected.

    A key frame, which has the number 0, and all before this one; or as many as lead once around.

    Args:
        info: of the picture.
        unknown: what to return where it has no number.
    """
    if info.number is None:
        return unknown
    most = info.modulus - 1
    return min(info.number or most, most)


def _usual_step(stamps: Iterable[int]) -> int:
    """Return the median of the times between pictures, in the order of their stamps; 0 if none."""
    ordered = sorted(stamps)
    steps = sorted(later - earlier for earlier, later in pairwise(ordered))
    return steps[len(steps) // 2] if steps else 0


def _read_info(headers: Headers, codec: Codec, data: bytes) -> PacketInfo:
    """Return what the headers tell, if a decoder may see the packet."""
    if len(data) > _MOST_BYTES:
        raise FrameError(
            Reason.BAD_SIZE, f"packet has {len(data)} bytes, expected at most {_MOST_BYTES}"
        )
    try:
        info = headers.read(data)
    except (ValueError, IndexError) as error:
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"{codec.name} packet of {len(data)} bytes cannot be read: {error}",
        ) from None
    if info.size is not None:
        _check_size(*info.size)
    if info.pictures > 1 or info.parts > _MOST_PARTS:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"{codec.name} packet holds {info.pictures} pictures in {info.parts} parts, expected "
            f"one of at most {_MOST_PARTS} parts in each message",
        )
    return info


def _check_size(height: int, width: int) -> None:
    check_size(height, width)
    if height * width > MAX_PIXELS:
        raise FrameError(
            Reason.BAD_SIZE,
            f"video claims {width}x{height} pixels, expected at most {MAX_PIXELS} in all",
        )
