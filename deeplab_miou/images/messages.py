"""Image messages as the core sees them: the same fields as in ROS 2, whatever the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.accounting import Reason

    Buffer = bytes | bytearray | memoryview | array[int] | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RawImage:
    """The fields of ``sensor_msgs/Image``.

    Attributes:
        height: rows.
        width: columns.
        encoding: what a pixel is, a name of ``sensor_msgs/image_encodings``.
        is_bigendian: byte order of 16 and 32-bit channels.
        step: bytes from one row to the next.
        data: the pixels; any object with a contiguous buffer of bytes, never copied.
    """

    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: Buffer


@dataclass(frozen=True, slots=True)
class CompressedImage:
    """The fields of ``sensor_msgs/CompressedImage``.

    Attributes:
        format: what the publisher says it is, such as ``png`` or ``rgb8; jpeg compressed bgr8``.
        data: a whole PNG or JPEG file.
    """

    format: str
    data: Buffer


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A picture of a video that could not be decoded, in the place of an image.

    Attributes:
        reason: why, in the account.
        text: one line for people.
        data: nothing.
    """

    reason: Reason
    text: str
    data: bytes = b""


ImageMessage = RawImage | CompressedImage | Undecodable


@dataclass(frozen=True, slots=True)
class VideoPacket:
    """One picture of a video as a message has it: coded, and of use only after those before it.

    Attributes:
        stamp_ns: stamp of the picture, nanoseconds.
        frame_id: the coordinate frame.
        encoding: what the publisher calls the codec, such as ``h264`` or ``hevc_nvenc;nv12;bgr8``.
        data: the codec's data.
        number: what ``ffmpeg_image_transport`` counts pictures with; None in other messages.
    """

    stamp_ns: int
    frame_id: str
    encoding: str
    data: Buffer
    number: int | None = None
