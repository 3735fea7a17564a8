"""Images as tests need them: messages of ids, and files written byte by byte."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from deeplab_miou.images.messages import RawImage


def raw_image(pixels, encoding):
    """Return an image of an array ``(h, w, ...)``, row after row without padding."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    return RawImage(height, width, encoding, is_bigendian=False, step=step, data=pixels.tobytes())


def mono8(ids):
    """Return a label image (or a picture in grey) of ids, (h, w)."""
    return raw_image(np.asarray(ids, np.uint8), "mono8")


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(width, height, depth, color_type, rows, *, chunks=()):
    """Write a PNG byte by byte (ISO/IEC 15948)."""
    body = b"".join(png_chunk(name, data) for name, data in chunks)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return start + body + pixels + png_chunk(b"IEND", b"")
