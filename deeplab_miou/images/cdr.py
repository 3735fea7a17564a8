"""Image messages in CDR, as on the wire and in bags: from bytes to views of them.

``sensor_msgs/Image`` and ``CompressedImage`` are the same in every ROS 2 distribution, and the two
messages of videos have not changed since there are such. Either byte order is read; bytes that are
not such a message raise, whatever they are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.messages import CompressedImage, ImageMessage, RawImage, VideoPacket

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RAW_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW_TYPE, COMPRESSED_TYPE)
FOXGLOVE_VIDEO_TYPE = "foxglove_msgs/msg/CompressedVideo"
FFMPEG_PACKET_TYPE = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
VIDEO_TYPES = (FOXGLOVE_VIDEO_TYPE, FFMPEG_PACKET_TYPE)

_NS = 1_000_000_000
# The second byte of the encapsulation: plain CDR of version 1 and 2, big and little endian. They
# differ in how fields of 8 bytes are aligned, which only packets of ffmpeg_image_transport have.
_ORDERS = {0: ">", 1: "<", 6: ">", 7: "<"}
_ENCAPSULATION = 4
_ALIGNMENT = 4
_LONG_ALIGNMENT = {0: 8, 1: 8, 6: 4, 7: 4}
# Frames and encodings have short names, and they go into what is published about each image.
_LONGEST_TEXT = 1024
# A message is padded to whole words.
_MOST_PADDING = 3


class StampedImage(NamedTuple):
    """An image message with its header.

    Attributes:
        stamp_ns: header stamp in nanoseconds.
        frame_id: the header's coordinate frame.
        image: the image; its data is a view of the message's bytes.
    """

    stamp_ns: int
    frame_id: str
    image: ImageMessage


class _Order(NamedTuple):
    """What is read at once, in one byte order."""

    header: struct.Struct  # seconds, nanoseconds, length of the frame's name
    size: struct.Struct  # height, width, length of the encoding
    length: struct.Struct
    number: struct.Struct


_READERS = {
    mark: _Order(*(struct.Struct(f"{mark}{fields}") for fields in ("iII", "III", "I", "Q")))
    for mark in "<>"
}


def read_image(data: bytes | bytearray | memoryview, type_name: str) -> StampedImage:
    """Return the image that a serialised message holds; its data is a view, not a copy.

    Args:
        data: the message with its encapsulation header.
        type_name: one of `IMAGE_TYPES`.

    Raises:
        FrameError: truncated_data: the bytes are not such a message.
    """
    read_rest = _read_raw if type_name == RAW_TYPE else _read_compressed
    return StampedImage(*_read(data, type_name, read_rest))


def read_packet(data: bytes | bytearray | memoryview, type_name: str) -> VideoPacket:
    """Return the packet of a video that a serialised message holds; its data is a view.

    Args:
        data: the message with its encapsulation header.
        type_name: one of `VIDEO_TYPES`.

    Raises:
        FrameError: truncated_data: the bytes are not such a message.
    """
    read_rest = _read_foxglove if type_name == FOXGLOVE_VIDEO_TYPE else _read_ffmpeg
    stamp_ns, frame_id, (name, packet, number) = _read(data, type_name, read_rest)
    return VideoPacket(stamp_ns, frame_id, name, packet, number)


def _read(
    data: bytes | bytearray | memoryview,
    type_name: str,
    read_rest: Callable[[memoryview, int, _Order], T],
) -> tuple[int, str, T]:
    """Return stamp, nanoseconds, and frame of a message, and what follows them.

    Raises:
        FrameError: truncated_data: the bytes are not such a message.
    """
    whole = memoryview(data).cast("B")
    try:
        order = _order(whole)
        seconds, nanoseconds, length = order.header.unpack_from(whole, _ENCAPSULATION)
        frame_id, place = _text(whole, _ENCAPSULATION + order.header.size, length)
        return seconds * _NS + nanoseconds, frame_id, read_rest(whole, place, order)
    except (struct.error, IndexError, ValueError) as error:
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"{len(whole)} bytes are not a valid {type_name}: {error}",
        ) from None


def _read_raw(whole: memoryview, place: int, order: _Order) -> ImageMessage:
    height, width, length = order.size.unpack_from(whole, place)
    encoding, place = _text(whole, place + order.size.size, length, aligned=False)
    is_bigendian = whole[place]
    place = _aligned(place + 1)
    (step,) = order.length.unpack_from(whole, place)
    pixels = _payload(whole, place + _ALIGNMENT, order)
    return RawImage(height, width, encoding, bool(is_bigendian), step, pixels)


def _read_compressed(whole: memoryview, place: int, order: _Order) -> ImageMessage:
    (length,) = order.length.unpack_from(whole, place)
    name, place = _text(whole, place + _ALIGNMENT, length)
    return CompressedImage(name, _payload(whole, place, order))


def _read_foxglove(
    whole: memoryview, place: int, order: _Order
) -> tuple[str, memoryview, int | None]:
    (length,) = order.length.unpack_from(whole, place)
    end = place + _ALIGNMENT + length
    packet = _payload(whole[:end], place, order)
    place = _aligned(end)
    (length,) = order.length.unpack_from(whole, place)
    name, _ = _text(whole, place + _ALIGNMENT, length)
    return name, packet, None


def _read_ffmpeg(
    whole: memoryview, place: int, order: _Order
) -> tuple[str, memoryview, int | None]:
    _width, _height, length = order.size.unpack_from(whole, place)
    name, place = _text(whole, place + order.size.size, length, aligned=False)
    long = _LONG_ALIGNMENT[whole[1]]
    place = _ENCAPSULATION + -(-(place - _ENCAPSULATION) // long) * long
    (number,) = order.number.unpack_from(whole, place)
    # Two bytes: flags, and whether the encoder's machine was big endian.
    packet = _payload(whole, _aligned(place + order.number.size + 2), order)
    return name, packet, number


def read_stamp(data: bytes | bytearray | memoryview) -> int | None:
    """Return the header stamp, nanoseconds, of what may otherwise be no message; None if cut."""
    whole = memoryview(data).cast("B")
    try:
        seconds, nanoseconds, _ = _order(whole).header.unpack_from(whole, _ENCAPSULATION)
    except (struct.error, IndexError, ValueError):
        return None
    return int(seconds * _NS + nanoseconds)


def _order(whole: memoryview) -> _Order:
    mark = _ORDERS.get(whole[1])
    if mark is None:
        raise ValueError(f"encapsulation {whole[1]} is none of {sorted(_ORDERS)}")
    return _READERS[mark]


def _aligned(place: int) -> int:
    return -(-place // _ALIGNMENT) * _ALIGNMENT


def _text(whole: memoryview, place: int, length: int, *, aligned: bool = True) -> tuple[str, int]:
    """Return a text and where the next field is."""
    end = place + length
    if end > len(whole):
        raise ValueError(f"a text of {length} bytes, but {len(whole) - place} are left")
    if length > _LONGEST_TEXT:
        raise ValueError(f"a text of {length} bytes, expected at most {_LONGEST_TEXT}")
    # The closing zero counts; without one it is a text still.
    text = bytes(whole[place:end]).partition(b"\0")[0].decode(errors="replace")
    return text, _aligned(end) if aligned else end


def _payload(whole: memoryview, place: int, order: _Order) -> memoryview:
    (length,) = order.length.unpack_from(whole, place)
    place += _ALIGNMENT
    left = len(whole) - place
    if length > left:
        raise ValueError(f"data of {length} bytes, but {left} are left")
    if left - length > _MOST_PADDING:
        raise ValueError(f"{left - length} bytes follow the {length} bytes of data")
    return whole[place : place + length]
