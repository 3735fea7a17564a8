"""Untrusted JPEG files: their true size and cost, determined as the decoder would.

ITU-T T.81, annex B, and ``jdmarker.c`` of libjpeg, which decodes them: where the two differ, such
as in rubbish between markers, the size that counts is the one that the decoder sees.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

START = b"\xff\xd8\xff"
# Usual progressive files have 6 to 14. Each goes over the whole image, whatever its bytes are.
MAX_SCANS = 64

_MAX_MARKERS = 1000
_MAX_RUBBISH = 1 << 16
# Baseline, extended sequential and progressive, all of Huffman codes: the only ones in use.
_FRAMES = (0xC0, 0xC1, 0xC2)
_BARE = (0x01, *range(0xD0, 0xD8))  # TEM and RST have no length
_WITH_LENGTH = (0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE)
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


class JpegHeader(NamedTuple):
    """What the frame header says.

    Attributes:
        height: rows.
        width: columns.
        body: where the frame header is, bytes from the start.
    """

    height: int
    width: int
    body: int


def read_jpeg_header(data: NDArray[np.uint8]) -> JpegHeader | None:
    """Find the frame header of a file (n,) uint8; None if it is not a JPEG, or an unusual one."""
    if data[:3].tobytes() != START:
        return None
    position = 2
    for _ in range(_MAX_MARKERS):
        position = _next_marker(data, position)
        segment = data[position : position + 8].tobytes()
        if len(segment) < 8:  # noqa: PLR2004
            return None
        marker, length = struct.unpack_from(">BH", segment)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", segment, 4)
            return JpegHeader(height, width, position)
        if marker in _BARE:
            position += 1
        elif marker in _WITH_LENGTH:
            position += 1 + length
        else:
            return None
    return None


def has_end(data: NDArray[np.uint8], header: JpegHeader) -> bool:
    """Return whether there is an end mark; the decoder fills what is missing with grey."""
    return data[header.body :].tobytes().rfind(_END) >= 0


def count_scans(data: NDArray[np.uint8], header: JpegHeader) -> int:
    """Return how many scans there are at most: a mark of one cannot be among a scan's pixels."""
    return data[header.body :].tobytes().count(_SCAN)


def _next_marker(data: NDArray[np.uint8], position: int) -> int:
    """Return where the code of the next marker is; behind the end if there is none."""
    ahead = data[position : position + _MAX_RUBBISH].tobytes()
    place = ahead.find(b"\xff")
    while 0 <= place < len(ahead) - 1:
        if ahead[place + 1] == 0:  # no marker, but 255 among pixels
            place = ahead.find(b"\xff", place + 2)
        elif ahead[place + 1] == 0xFF:  # noqa: PLR2004 - fill byte
            place += 1
        else:
            return position + place + 1
    return data.size
