"""Untrusted PNG and JPEG files: size and cost are checked before anything is decoded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images import png
from deeplab_miou.images.jpeg import (
    MAX_SCANS,
    JpegHeader,
    count_scans,
    has_end,
    read_jpeg_header,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# 8192 x 8192 pixels: 256 MiB with four channels.
MAX_SIDE = 32768
MAX_PIXELS = 1 << 26

# image_transport's compressedDepth puts its `ConfigHeader`, an int32 and two floats, before the
# file, as in the publisher's memory, so of little-endian machines. The first says nothing
# (image_transport_plugins issue 44), the others are the quantisation of floats.
DEPTH_TRANSPORT = "compressedDepth"
RVL_TRANSPORT = f"{DEPTH_TRANSPORT} rvl"
DEPTH_HEADER = struct.Struct("<iff")

# Deflate (PNG) shrinks by 1032 at most; a JPEG spends at least a bit on 64 pixels.
_MAX_RATIO = 1032
# Turned as their EXIF data say, without alpha, 16 bits as 16 bits.
_DECODE = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH

Header = png.PngHeader | JpegHeader


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
        array: (H, W), or (H, W, 3) in OpenCV's order blue, green, red, of uint8 or uint16.
        palette: (k, 3) uint8 RGB of an indexed PNG, whose indices ``array`` holds; else None.
    """

    array: NDArray[Any]
    palette: NDArray[np.uint8] | None = None


def check_size(height: int, width: int) -> None:
    """Refuse sizes that no camera has, before anything of that size is allocated.

    Raises:
        FrameError: bad_size.
    """
    sides_fit = 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE
    if not sides_fit or height * width > MAX_PIXELS:
        raise FrameError(
            Reason.BAD_SIZE,
            f"image claims {width}x{height} pixels, expected 1 to {MAX_SIDE} on a side and at most "
            f"{MAX_PIXELS} in all",
        )


def read_header(data: NDArray[np.uint8]) -> Header | None:
    """Read the header of a file (n,) uint8; None if it is neither PNG nor JPEG."""
    return png.read_png_header(data) or read_jpeg_header(data)


def decode_file(data: NDArray[np.uint8], header: Header) -> Decoded:
    """Decode a file (n,) uint8 whose size has been checked.

    An image whose EXIF data say that the camera was held otherwise is turned, as viewers,
    annotation tools and OpenCV do; a label image alike.

    Raises:
        FrameError: truncated_data, also for damage of other kinds; bad_encoding where decoding
            would take too long.
    """
    if isinstance(header, JpegHeader):
        return _decode_jpeg(data, header)
    # So few bytes cannot hold so many pixels: the decoder would allocate them before it finds out.
    bits = header.height * header.width * header.depth * png.CHANNELS.get(header.color_type, 1)
    needed = png.needed_pixels(data, header) if bits <= 8 * _MAX_RATIO * data.size else None
    array = _decode(needed.file) if needed is not None else None
    if needed is None or not _fits(array, header):
        raise _damaged("png", data, header)
    assert array is not None  # noqa: S101  (fits)
    if header.color_type == png.GRAY_ALPHA and array.ndim == 3:  # noqa: PLR2004
        array = array[..., 0]
    if header.color_type in (png.GRAY, png.PALETTE) and header.depth < 8:  # noqa: PLR2004
        # The decoder makes shades of few bits brighter, so that they reach white.
        array = array // np.uint8(255 // ((1 << header.depth) - 1))
    return Decoded(array, needed.palette)


def hides_colors(data: NDArray[np.uint8], header: png.PngHeader) -> bool:
    """Return whether a PNG that `decode_file` accepts has colours that viewers do not show.

    These are pixels that are not opaque and not black, which `decode_file` returns all the same.
    """
    if header.color_type not in png.WITH_ALPHA:
        return False
    needed = png.needed_pixels(data, header)
    array = None if needed is None else _decode(needed.file, cv2.IMREAD_UNCHANGED)
    if array is None:
        raise _damaged("png", data, header)
    alpha = array[..., 3]
    return bool(np.any((alpha < np.iinfo(alpha.dtype).max) & array[..., :3].any(axis=2)))


def _decode_jpeg(data: NDArray[np.uint8], header: JpegHeader) -> Decoded:
    scans = count_scans(data, header)
    if scans > MAX_SCANS:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"jpeg image {header.width}x{header.height} has {scans} scans, expected at most "
            f"{MAX_SCANS}: each takes as long as a whole image",
        )
    possible = header.height * header.width <= 8 * 64 * data.size
    array = _decode(data) if possible and has_end(data, header) else None
    if array is None or not _fits(array, header):
        raise _damaged("jpeg", data, header)
    return Decoded(array)


def _decode(file: NDArray[np.uint8], how: int = _DECODE) -> NDArray[Any] | None:
    try:
        array: NDArray[Any] | None = cv2.imdecode(file, how)
    except cv2.error:
        return None
    return array


def _fits(array: NDArray[Any] | None, header: Header) -> bool:
    """Return whether the size is the one that was checked; the image may have been turned."""
    size = (header.height, header.width)
    return array is not None and array.shape[:2] in (size, size[::-1])


def _damaged(kind: str, data: NDArray[np.uint8], header: Header) -> FrameError:
    return FrameError(
        Reason.TRUNCATED_DATA,
        f"{kind} image {header.width}x{header.height} of {data.size} bytes cannot be decoded: it "
        "is damaged or was cut short",
    )
