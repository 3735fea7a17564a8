"""Zstandard compression of a bag's messages or files, unpacked as far as possible if damaged."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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


def is_compressed(data: bytes) -> bool:
    """Return whether bytes start a Zstandard frame (RFC 8878); no CDR message starts so."""
    return data[:4] == b"\x28\xb5\x2f\xfd"


def decompress(data: bytes) -> bytes:
    """Return the content of a whole Zstandard frame.

    Raises:
        ValueError: the frame is damaged.
    """
    decompressor = zstd.ZstdDecompressor()
    try:
        content = check_size(decompressor.decompress(data, LARGEST_BYTES + 1))
    except zstd.ZstdError as error:
        raise ValueError(f"damaged Zstandard frame: {error}") from None
    if not decompressor.eof:
        raise ValueError("damaged Zstandard frame: its end is missing")
    return content


def check_size(content: bytes) -> bytes:
    """Return what was unpacked.

    Raises:
        ValueError: it is more than `LARGEST_BYTES`.
    """
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it unpacks to more than {LARGEST_BYTES} bytes")
    return content


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
                            f"{source.name}: it unpacks to {_LARGEST_RATIO} times its size and "
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
    try:
        return check_size(zstd.ZstdDecompressor().decompress(data, LARGEST_BYTES + 1))
    except zstd.ZstdError as error:
        raise ValueError(f"damaged Zstandard frame: {error}") from None
