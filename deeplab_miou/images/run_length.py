"""Masks as runs of equal ids, as Autoware's ``tensorrt_yolox`` publishes them.

The message is a ``sensor_msgs/Image`` of ``mono8`` whose data are not pixels but runs, row by row:
an id (one byte) and how often it comes (four bytes, little-endian). Nothing in other fields says
so: data are runs exactly if their lengths add up to the image.
Source: ``perception_utils::runLengthEncoder`` of Autoware Universe.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

import numpy as np

from deeplab_miou.images.raw_pixels import as_bytes, byte_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.messages import RawImage

_ENCODINGS = ("mono8", "8UC1")
_LENGTH = struct.Struct("<i")
_RUN = np.dtype([("id", "u1"), ("length", "<i4")])


def is_run_length(message: RawImage) -> bool:
    """Return whether an image's data are runs that make up all of it."""
    pixels = message.height * message.width
    size = byte_count(message.data)
    if message.encoding not in _ENCODINGS or not size or size % _RUN.itemsize:
        return False
    data = memoryview(message.data)  # type: ignore[arg-type]  # typeshed before 3.12
    # Pixels nearly always give themselves away at once.
    for run in (0, size - _RUN.itemsize):
        if not 0 < _LENGTH.unpack_from(data, run + 1)[0] <= pixels:
            return False
    lengths = as_bytes(data).view(_RUN)["length"]
    return bool(lengths.min() > 0) and int(lengths.sum(dtype=np.int64)) == pixels


def read_run_length(message: RawImage) -> NDArray[np.uint8]:
    """Return the ids (H, W) of an image whose data are runs."""
    runs = as_bytes(message.data).view(_RUN)
    ids = np.repeat(runs["id"], runs["length"]).reshape(message.height, message.width)
    return cast("NDArray[np.uint8]", ids)
