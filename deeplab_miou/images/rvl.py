"""Depth images in RVL: lossless run lengths and differences of 16-bit values.

Andrew D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017. Pixels are taken row by row:
how many zeros follow, how many other values, and of each of these the difference from the one
before it, zigzagged. A number is written as nibbles of three bits, the lowest first, whose fourth
bit says that another one follows; eight nibbles make a word, the first in its highest bits.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.compressed import check_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# As compressed_depth_image_transport writes it, in the publisher's byte order: width and height.
_SIZE = struct.Struct("<II")
# Ten nibbles hold 30 bits, and no number of an image that fits in memory is larger.
_MOST_BITS = 30


class RvlHeader(NamedTuple):
    """What comes before the words."""

    height: int
    width: int


def read_rvl_header(data: NDArray[np.uint8]) -> RvlHeader:
    """Return the header of an image (n,) uint8.

    Raises:
        FrameError: bad_size; truncated_data where there is none.
    """
    if data.size < _SIZE.size:
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"rvl image has {data.size} bytes, expected more than a header of {_SIZE.size}",
        )
    width, height = _SIZE.unpack_from(data.data)
    check_size(height, width)
    return RvlHeader(height, width)


def decode_rvl(data: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the values of an image, uint16 ``(h, w)``.

    What follows the last pixel is not looked at, as in upstream's decoder.

    Args:
        data: (n,) uint8: width and height, four bytes each, and the words.

    Raises:
        FrameError: bad_size; truncated_data where the words end too soon, or are damaged so that
            they make more pixels than the image has.
    """
    height, width = read_rvl_header(data)
    end = data.size - data.size % 4
    words = data[_SIZE.size : end].view("<u4").astype(np.uint32)
    values = np.zeros((height, width), np.uint16)
    if not _decoder()(words, values.reshape(-1)):
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"rvl image {width}x{height} of {data.size} bytes cannot be decoded: it is "
            "damaged or was cut short",
        )
    return values


def warm_up() -> None:
    """Compile, or load from the cache, what decoding takes."""
    _decoder()


@functools.cache
def _decoder() -> Callable[..., Any]:
    import numba  # noqa: PLC0415 - few depth images are compressed so

    from deeplab_miou.metric.compiling import compiled  # noqa: PLC0415

    words, values = (numba.types.Array(each, 1, "C") for each in (numba.uint32, numba.uint16))
    return compiled(_decode, (words, values))


def _decode(words: NDArray[np.uint32], values: NDArray[np.uint16]) -> bool:
    """Write the values that are not zero into (h * w,) zeros; return whether all of it was there.

    Takes one number at a time, so that the words' length bounds the time whatever they say.
    """
    zeros, length, value = 0, 1, 2  # what the next number is
    what, at, left, previous, number, bits = zeros, 0, 0, 0, 0, 0
    for place in range(8 * words.size):
        nibble = (np.int64(words[place // 8]) >> (28 - 4 * (place % 8))) & 15
        number |= int(nibble & 7) << bits
        bits += 3
        if nibble & 8:
            if bits >= _MOST_BITS:
                return False
            continue
        if what != value and number > values.size - at:
            return False
        if what == zeros:
            at += number
            what = length
        elif what == length:
            left = number
            what = value if left else zeros
        else:
            previous += (number >> 1) ^ -(number & 1)
            values[at] = previous & 0xFFFF
            at, left = at + 1, left - 1
            what = value if left else zeros
        number, bits = 0, 0
        if at == values.size and what == zeros:
            return True
    return False
