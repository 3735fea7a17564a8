"""Zstandard compression of a bag's messages or files, unpacked as far as possible if damaged."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

# Far more than any image has: what unpacks to more is not read.
LARGEST_BYTES = 512 * 2**20
_COPY_BYTES = 1 << 20
# A file of label images may shrink to a few thousandths, but a small one unpacks to no disk full.
_LARGEST_FILE = 2**30
_LARGEST_RATIO = 1000


class Decompressor(Protocol):
    """What unpacks a stream piece by piece, as the standard library's and lz4's objects do."""

    @property
    def eof(self) -> bool:
        """Whether the stream is over."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """Take input, and return at most this many bytes."""


def is_compressed(data: bytes) -> bool:
    """Return whether bytes start a Zstandard frame (RFC 8878); no CDR message starts so."""
    return data[:4] == b"\x28\xb5\x2f\xfd"


def decompress(data: bytes) -> bytes:
    """Return the content of a whole Zstandard frame.

    Raises:
        ValueError: the frame is damaged.
    """
    decompressor = zstd.ZstdDecompressor()
    content = _unpack_zstd(decompressor, data)
    if not decompressor.eof:
        raise ValueError("damaged Zstandard frame: its end is missing")
    return content


def unpack(decompressor: Decompressor, data: bytes | memoryview) -> bytes:
    """Return what a decompressor makes of all its input.

    Piece by piece: at once it would hold everything twice for a while.

    Raises:
        ValueError: it is more than `LARGEST_BYTES`.
    """
    unpacked = BytesIO()
    unpacked.write(decompressor.decompress(data, _COPY_BYTES))
    while not (decompressor.eof or decompressor.needs_input):
        unpacked.write(decompressor.decompress(b"", _COPY_BYTES))
        if unpacked.tell() > LARGEST_BYTES:
            break
    if unpacked.tell() > LARGEST_BYTES:
        raise ValueError(f"it unpacks to more than {LARGEST_BYTES} bytes")
    return unpacked.getvalue()


def _unpack_zstd(decompressor: zstd.ZstdDecompressor, data: bytes | memoryview) -> bytes:
    try:
        return unpack(decompressor, data)
    except zstd.ZstdError as error:
        raise ValueError(f"damaged Zstandard frame: {error}") from None


def decompress_file(source: Path, target: Path, problems: list[str]) -> None:
    """Write the decompressed content of a Zstandard file, as far as it goes.

    Args:
        source: the compressed file.
        target: the file to write.
        problems: gets a line when the file is cut short or damaged.
    """
    room = max(_LARGEST_FILE, _LARGEST_RATIO * source.stat().st_size)
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as packed, target.open("wb") as unpacked:
        try:
            while data := packed.read(_COPY_BYTES):
                while data or not (decompressor.eof or decompressor.needs_input):
                    if decompressor.eof:  # frames may follow each other
                        decompressor = zstd.ZstdDecompressor()
                    room -= unpacked.write(decompressor.decompress(data, _COPY_BYTES))
                    data = decompressor.unused_data
                    if room < 0:
                        problems.append(
                            f"{source.name}: it unpacks to {_LARGEST_RATIO} times its size or "
                            "more; only the beginning is read"
                        )
                        return
        except zstd.ZstdError as error:
            problems.append(f"{source.name}: damaged compression, {error}")
            return
    if not decompressor.eof:
        problems.append(f"{source.name}: the compressed file is cut short")


def decompress_start(data: bytes | memoryview) -> bytes:
    """Return the content of a Zstandard frame, or as much of it as a cut one still holds.

    Raises:
        ValueError: the frame is damaged.
    """
    return _unpack_zstd(zstd.ZstdDecompressor(), data)
