"""Image messages as the core sees them: the same fields as in ROS 2, whatever the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array

    import numpy as np
    from numpy.typing import NDArray

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


ImageMessage = RawImage | CompressedImage
