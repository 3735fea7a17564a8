"""NAL units, of which H.264 and H.265 consist, one after the other as in annex B of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = b"\0\0\1"
_LENGTH_BYTES = 4
# Headers are read, not pixels: a slice's take a few bytes, parameter sets a few hundred.
HEADER_BYTES = 4096
_FILTERS = {"h264": "h264_mp4toannexb", "h265": "hevc_mp4toannexb"}


def nal_units(data: bytes, codec: str) -> Iterator[bytes]:
    """Yield the beginning of each unit, as far as headers reach, without its start code.

    Raises:
        FrameError: bad_encoding: there is no start code.
    """
    place = data.find(_START)
    if place < 0 or data[:place].strip(b"\0"):
        raise FrameError(Reason.BAD_ENCODING, _without_start(data, codec))
    while place >= 0:
        begin = place + len(_START)
        place = data.find(_START, begin)
        end = min(begin + HEADER_BYTES, len(data) if place < 0 else place)
        if end > begin:
            yield data[begin:end]


def payload(unit: bytes, header_bytes: int) -> bytes:
    """Return what a unit's beginning holds, without the bytes that keep start codes out of it."""
    return unit[header_bytes:].replace(b"\0\0\3", b"\0\0")


def _without_start(data: bytes, codec: str) -> str:
    place = 0
    while place < len(data):
        place += _LENGTH_BYTES + int.from_bytes(data[place : place + _LENGTH_BYTES], "big")
    if place == len(data) and data:
        return (
            f"{codec} packet has a length before each of its units, as mp4 files do (AVCC), "
            f"expected start codes (Annex B): convert with ffmpeg's {_FILTERS[codec]}"
        )
    return f"{codec} packet of {len(data)} bytes does not begin with a start code (Annex B)"
