"""Depth images to metres, in the encodings of REP 118 and of image_transport.

``32FC1`` is in metres, ``16UC1`` and ``mono16`` in millimetres. NaN, infinity, 0 and less mean that
nothing was measured, as in REP 117, drivers and simulators. Compressed images are
PNGs of 16 bits: plain ones (the transport ``compressed``), and PNGs or RVL of ``compressedDepth``,
which puts 12 bytes before the file and, of ``32FC1``, holds the inverse of the depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.compressed import (
    DEPTH_HEADER,
    DEPTH_TRANSPORT,
    RVL_TRANSPORT,
    check_size,
    decode_file,
)
from deeplab_miou.images.messages import CompressedImage, RawImage
from deeplab_miou.images.png import read_png_header
from deeplab_miou.images.raw_pixels import as_bytes, layout, view
from deeplab_miou.images.rvl import decode_rvl
from deeplab_miou.text import plural, quote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.messages import ImageMessage

_METRES, _MILLIMETRES = "32FC1", ("16UC1", "mono16")
_LAYOUTS = {_METRES: layout(1, "f4"), **dict.fromkeys(_MILLIMETRES, layout(1, "u2"))}
_SUPPORTED = f"{', '.join(_LAYOUTS)}, compressed png of 16 bits, and rvl"


def decode_depth(message: ImageMessage) -> NDArray[np.float32]:
    """Return a depth image in metres, float32 ``(h, w)``; NaN where nothing was measured.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    if isinstance(message, CompressedImage):
        metres = _decompress(message)
    elif isinstance(message, RawImage):
        metres = _read(message)
    else:
        raise FrameError(Reason.BAD_ENCODING, f"depth is a video, expected one of: {_SUPPORTED}")
    metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def _read(message: RawImage) -> NDArray[np.float32]:
    stored = _LAYOUTS.get(message.encoding)
    if stored is None:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"depth image has encoding {quote(message.encoding)}, expected one of: {_SUPPORTED}",
        )
    check_size(message.height, message.width)
    pixels = view(message, stored, message.height)
    return pixels.astype(np.float32) if message.encoding == _METRES else _metres(pixels)


def _decompress(message: CompressedImage) -> NDArray[np.float32]:
    encoding, _, transport = (part.strip() for part in message.format.partition(";"))
    data = as_bytes(message.data)
    inverse = None
    if DEPTH_TRANSPORT in transport:
        if encoding not in _LAYOUTS:
            raise FrameError(
                Reason.BAD_ENCODING,
                f"depth image has format {quote(message.format)}, expected one of: "
                f"{', '.join(_LAYOUTS)}",
            )
        if data.size < DEPTH_HEADER.size:
            raise FrameError(
                Reason.TRUNCATED_DATA,
                f"depth image of format {quote(message.format)} has {data.size} bytes, expected a "
                f"header of {DEPTH_HEADER.size} and an image",
            )
        _, *inverse = DEPTH_HEADER.unpack_from(data.data)
        data = data[DEPTH_HEADER.size :]
    # The format must say so: nothing in the data does.
    is_rvl = inverse is not None and RVL_TRANSPORT in transport
    array = decode_rvl(data) if is_rvl else _read_png(data, message.format)
    if encoding != _METRES:
        return _metres(array)
    if inverse is None:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"depth image has format {quote(message.format)}, expected the transport "
            f"{DEPTH_TRANSPORT} for {_METRES}",
        )
    return _from_inverse(array, *inverse)


def _read_png(data: NDArray[np.uint8], form: str) -> NDArray[np.uint16]:
    header = read_png_header(data)
    if header is None:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"depth image of format {quote(form)} ({data.size} bytes) is not a PNG: expected one "
            "of 16 bits, because JPEG changes depths",
        )
    check_size(header.height, header.width)
    array = decode_file(data, header).array
    if array.dtype != np.uint16 or array.ndim != 2:  # noqa: PLR2004
        raise FrameError(
            Reason.BAD_ENCODING,
            f"depth image of format {quote(form)} is a PNG of {8 * array.itemsize} bits and "
            f"{plural(1 if array.ndim == 2 else array.shape[2], 'channel')}, expected 16 and one",  # noqa: PLR2004
        )
    return array


def _from_inverse(array: NDArray[np.uint16], a: float, b: float) -> NDArray[np.float32]:
    """Undo what compressed_depth_image_transport does to floats: ``a / depth + b``, 0 for none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(a) / (array.astype(np.float32) - np.float32(b))
    metres[array == 0] = np.nan
    return metres


def _metres(millimetres: NDArray[np.uint16]) -> NDArray[np.float32]:
    return millimetres.astype(np.float32) / np.float32(1000)
