"""PNG files from strangers: what they claim, and only what their pixels need of them.

A PNG may hold compressed remarks, profiles and animations besides its pixels, which the decoder
unpacks and nobody here looks at: 3 MB of them become gigabytes. They are left out before it sees
the file. Chunks and colour types are those of ISO/IEC 15948.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

START = b"\x89PNG\r\n\x1a\n"
GRAY, PALETTE, GRAY_ALPHA = 0, 3, 4
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

_IHDR = struct.Struct(">IIBB")
_IHDR_END = 33
_MAX_CHUNKS = 1 << 16
_MAX_EXIF = 1 << 16
_BITS_OF_INDICES = (1, 2, 4, 8)


class PngHeader(NamedTuple):
    """What the first chunk says.

    Attributes:
        height: rows.
        width: columns.
        depth: bits of a channel.
        color_type: as in the standard; 3 is indexed.
    """

    height: int
    width: int
    depth: int
    color_type: int


class PngPixels(NamedTuple):
    """A PNG without what its pixels do not need.

    Attributes:
        file: (n,) uint8; an indexed one has become a grey one, whose shades are the indices.
        palette: (k, 3) uint8 RGB of an indexed one; None for others.
    """

    file: NDArray[np.uint8]
    palette: NDArray[np.uint8] | None


def read_png_header(data: NDArray[np.uint8]) -> PngHeader | None:
    """Read the header of a file (n,) uint8; None if it is no PNG."""
    start = data[:_IHDR_END].tobytes()
    if len(start) < _IHDR_END or not start.startswith(START) or start[12:16] != b"IHDR":
        return None
    width, height, depth, color_type = _IHDR.unpack_from(start, 16)
    return PngHeader(height, width, depth, color_type)


def needed_pixels(data: NDArray[np.uint8], header: PngHeader) -> PngPixels | None:
    """Take what the pixels need from a file (n,) uint8; None if it is cut short or damaged."""
    kept = [data[:_IHDR_END]]
    palette = None
    indexed = header.color_type == PALETTE
    if indexed:
        if header.depth not in _BITS_OF_INDICES:
            return None
        kept = [_grey_start(data)]
    for name, start, end in _chunks(data):
        if name == b"PLTE":
            palette = data[start + 8 : end - 4]
        if name in (b"IDAT", b"IEND") or (name == b"eXIf" and end - start <= _MAX_EXIF):
            kept.append(data[start:end])
        if name == b"IEND":
            break
    else:
        return None
    if not indexed:
        return PngPixels(np.concatenate(kept), None)
    if palette is None or palette.size % 3 or not 3 <= palette.size <= 3 << header.depth:  # noqa: PLR2004
        return None
    return PngPixels(np.concatenate(kept), palette.reshape(-1, 3))


def _chunks(data: NDArray[np.uint8]) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk after the first that is there as a whole."""
    position = _IHDR_END
    for _ in range(_MAX_CHUNKS):
        head = data[position : position + 8].tobytes()
        if len(head) < 8:  # noqa: PLR2004
            return
        length, name = struct.unpack(">I4s", head)
        end = position + 12 + length
        if end > data.size:
            return
        yield name, position, end
        position = end


def _grey_start(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return signature and header with the colour type grey: indices are stored as shades are."""
    start = bytearray(data[:_IHDR_END].tobytes())
    start[25] = GRAY
    start[-4:] = struct.pack(">I", zlib.crc32(start[12:-4]))
    return np.frombuffer(bytes(start), np.uint8)
