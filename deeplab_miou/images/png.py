"""Untrusted PNG files: the size they claim, and the data that their pixels need.

A PNG may hold compressed remarks, profiles and animations besides its pixels, which the decoder
unpacks and nobody here looks at: 3 MB of them become gigabytes. They are left out before it sees
the file. Nor does it see more rows than the header claims: it would unpack whatever follows them.
Chunks and colour types are those of ISO/IEC 15948.
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
GRAY, PALETTE, GRAY_ALPHA, RGB_ALPHA = 0, 3, 4, 6
WITH_ALPHA = (GRAY_ALPHA, RGB_ALPHA)
CHANNELS = {GRAY: 1, 2: 3, PALETTE: 1, GRAY_ALPHA: 2, RGB_ALPHA: 4}

_IHDR = struct.Struct(">IIBB")
_IHDR_END = 33
_NEEDED = (b"PLTE", b"eXIf", b"IDAT", b"IEND")
_MAX_CHUNKS = 1 << 16
_MAX_EXIF = 1 << 16
# Deflate shrinks by this at most.
_MAX_RATIO = 1032
# What is unpacked in a tenth of a second is not worth a look.
_SMALL = 1 << 25
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
    """A PNG reduced to what its pixels need.

    Attributes:
        file: (n,) uint8; an indexed one has become a grey one, whose shades are the indices.
        palette: (k, 3) uint8 RGB of an indexed one; None for others.
    """

    file: NDArray[np.uint8]
    palette: NDArray[np.uint8] | None


def read_png_header(data: NDArray[np.uint8]) -> PngHeader | None:
    """Read the header of a file (n,) uint8; None if it is not a PNG."""
    start = data[:_IHDR_END].tobytes()
    if len(start) < _IHDR_END or not start.startswith(START) or start[12:16] != b"IHDR":
        return None
    width, height, depth, color_type = _IHDR.unpack_from(start, 16)
    return PngHeader(height, width, depth, color_type)


def needed_pixels(data: NDArray[np.uint8], header: PngHeader) -> PngPixels | None:
    """Take what the pixels need from a file (n,) uint8; None if it is cut short or damaged."""
    parts = _sorted_out(data)
    rows = parts[b"IDAT"]
    if _MAX_RATIO * sum(chunk.size for chunk in rows) > _SMALL:
        rows = _bounded_rows(rows, header)
    if not (rows and parts[b"IEND"]):
        return None
    rest = [*parts[b"eXIf"], *rows, *parts[b"IEND"]]
    if header.color_type != PALETTE:
        return PngPixels(np.concatenate([data[:_IHDR_END], *rest]), None)
    colors = b"".join(chunk[8:-4].tobytes() for chunk in parts[b"PLTE"])
    fits = len(colors) % 3 == 0 and 3 <= len(colors) <= 3 << header.depth  # noqa: PLR2004
    if header.depth not in _BITS_OF_INDICES or not fits:
        return None
    palette = np.frombuffer(colors, np.uint8).reshape(-1, 3)
    return PngPixels(np.concatenate([_grey_start(data), *rest]), palette)


def _sorted_out(data: NDArray[np.uint8]) -> dict[bytes, list[NDArray[np.uint8]]]:
    """Return the whole chunks of each kind that is needed; no IEND if the file is cut short."""
    parts: dict[bytes, list[NDArray[np.uint8]]] = {name: [] for name in _NEEDED}
    for name, begin, after in _chunks(data):
        if name in parts and (name != b"eXIf" or after - begin <= _MAX_EXIF):
            parts[name].append(data[begin:after])
        if name == b"IEND":
            break
    return parts


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


def _bounded_rows(chunks: list[NDArray[np.uint8]], header: PngHeader) -> list[NDArray[np.uint8]]:
    """Unpack the rows and no more, and return them in a chunk of stored bytes; none if damaged."""
    bits = header.width * header.depth * CHANNELS.get(header.color_type, 1)
    # Twice as much, because rows of interlaced images are shorter and more.
    limit = 2 * (bits // 8 + 2) * header.height + _MAX_RATIO
    unpacking = zlib.decompressobj()
    unpacked = []
    try:
        for chunk in chunks:
            unpacked.append(unpacking.decompress(chunk[8:-4].data, limit))
            limit -= len(unpacked[-1])
            if limit <= 0 or unpacking.eof:
                break
    except zlib.error:
        return []
    if limit > 0 and not unpacking.eof:
        return []
    packed = zlib.compress(b"".join(unpacked), 0)
    body = b"IDAT" + packed
    whole = struct.pack(">I", len(packed)) + body + struct.pack(">I", zlib.crc32(body))
    return [np.frombuffer(whole, np.uint8)]


def _grey_start(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return signature and header with the colour type grey: indices are stored as shades are."""
    start = bytearray(data[:_IHDR_END].tobytes())
    start[25] = GRAY
    start[-4:] = struct.pack(">I", zlib.crc32(start[12:-4]))
    return np.frombuffer(bytes(start), np.uint8)
