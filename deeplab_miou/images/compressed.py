"""PNG and JPEG files from strangers: the header read and doubted before anything is decoded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# 8192 x 8192 pixels: 256 MiB with four channels.
MAX_SIDE = 32768
MAX_PIXELS = 1 << 26

# Colour types of ISO/IEC 15948, 11.2.2.
PNG_GRAY, PNG_PALETTE, PNG_GRAY_ALPHA = 0, 3, 4

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_MAX_CHUNKS = 1 << 16
_JPEG_START = b"\xff\xd8\xff"
_JPEG_MAX_SEGMENTS = 1000
# Deflate (PNG) shrinks by 1032 at most; a JPEG spends at least a bit on 64 pixels.
_MAX_RATIO = 1032


class Header(NamedTuple):
    """What a file's header says.

    Attributes:
        kind: ``png`` or ``jpeg``.
        height: rows.
        width: columns.
        body: from which byte on to look for the end.
        depth: bits of a channel.
        color_type: as in the PNG standard; -1 for JPEG.
    """

    kind: str
    height: int
    width: int
    body: int
    depth: int = 8
    color_type: int = -1


def check_size(height: int, width: int) -> None:
    """Refuse sizes that no camera has, before anything of that size is allocated.

    Raises:
        FrameError: bad_size.
    """
    sides_fit = 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE
    if not sides_fit or height * width > MAX_PIXELS:
        raise FrameError(
            Reason.BAD_SIZE,
            f"image claims {width}x{height} pixels, expected 1 to {MAX_SIDE} a side and at most "
            f"{MAX_PIXELS} in all",
        )


def read_header(data: NDArray[np.uint8]) -> Header | None:
    """Read the header of a file (n,) uint8; None if it is neither PNG nor JPEG."""
    start = data[:26].tobytes()
    if start.startswith(_PNG_START) and start[12:16] == b"IHDR" and len(start) == 26:  # noqa: PLR2004
        width, height, depth, color_type = struct.unpack(">IIBB", start[16:])
        return Header("png", height, width, len(_PNG_START), max(1, depth), color_type)
    return _jpeg_header(data) if start.startswith(_JPEG_START) else None


def decode_file(data: NDArray[np.uint8], header: Header) -> NDArray[Any]:
    """Decode a file (n,) uint8 whose size has been checked.

    Returns:
        (H, W), or (H, W, 3 or 4) in OpenCV's order blue, green, red, of uint8 or uint16.

    Raises:
        FrameError: truncated_data, also for damage of other kinds.
    """
    # So few bytes cannot hold so many pixels: the decoder would allocate them before it finds out.
    bits = header.depth * _PNG_CHANNELS.get(header.color_type, 1)
    possible = header.height * header.width * bits <= 8 * _MAX_RATIO * data.size
    ends = _png_ends if header.kind == "png" else _jpeg_ends
    whole = possible and ends(data, header.body)
    try:
        array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if whole else None
    except cv2.error:
        array = None
    if array is None or array.shape[:2] != (header.height, header.width):
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"{header.kind} image {header.width}x{header.height} of {data.size} bytes cannot be "
            "decoded: it is damaged or was cut short",
        )
    gray_alpha = header.color_type == PNG_GRAY_ALPHA and array.ndim == 3  # noqa: PLR2004
    return array[..., 0] if gray_alpha else array


def _jpeg_header(data: NDArray[np.uint8]) -> Header | None:
    """Find the frame header (SOF) that holds a JPEG's size; ITU-T T.81, annex B."""
    position = 2
    for _ in range(_JPEG_MAX_SEGMENTS):
        segment = data[position : position + 9].tobytes()
        if len(segment) < 9 or segment[0] != 0xFF:  # noqa: PLR2004
            return None
        marker = segment[1]
        if marker == 0xFF:  # noqa: PLR2004 - fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004
            height, width = struct.unpack(">HH", segment[5:9])
            return Header("jpeg", height, width, position)
        position += 2 + int.from_bytes(segment[2:4], "big")
    return None


def _png_ends(data: NDArray[np.uint8], position: int) -> bool:
    """Return whether the chunks reach the end mark; the decoder allocates what a chunk claims."""
    for _ in range(_PNG_MAX_CHUNKS):
        if position + 8 > data.size:
            return False
        length, name = struct.unpack(">I4s", data[position : position + 8].tobytes())
        position += 12 + length
        if name == b"IEND":
            return position <= data.size
    return False


def _jpeg_ends(data: NDArray[np.uint8], position: int) -> bool:
    """Return whether there is an end mark; the decoder fills what is missing with grey."""
    return data[position:].tobytes().rfind(b"\xff\xd9") >= 0
