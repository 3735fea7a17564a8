"""Zstandard over a bag's messages or over its files, as far as a damaged one can be unpacked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

_COPY_BYTES = 1 << 20


def is_compressed(data: bytes) -> bool:
    """Return whether bytes start a Zstandard frame (RFC 8878); no CDR message starts so."""
    return data[:4] == b"\x28\xb5\x2f\xfd"


def decompress(data: bytes) -> bytes:
    """Return the content of a whole Zstandard frame.

    Raises:
        ValueError: the frame is damaged.
    """
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise ValueError(f"damaged Zstandard frame: {error}") from None


def decompress_file(source: Path, target: Path, problems: list[str]) -> None:
    """Write the decompressed content of a Zstandard file, as far as it goes.

    Args:
        source: the compressed file.
        target: the file to write.
        problems: gets a line when the file is cut short or damaged.
    """
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as packed, target.open("wb") as unpacked:
        try:
            while data := packed.read(_COPY_BYTES):
                while data:
                    if decompressor.eof:  # frames may follow each other
                        decompressor = zstd.ZstdDecompressor()
                    unpacked.write(decompressor.decompress(data))
                    data = decompressor.unused_data
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
        content: bytes = zstd.ZstdDecompressor().decompress(data)
    except zstd.ZstdError as error:
        raise ValueError(f"damaged Zstandard frame: {error}") from None
    return content
