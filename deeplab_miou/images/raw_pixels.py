"""Raw images as arrays: what the encodings mean, and whether all claimed bytes are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.messages import Buffer, RawImage


class Layout(NamedTuple):
    """How an encoding stores a pixel.

    Attributes:
        channels: how many.
        little: a channel's type where the least significant byte is first.
        big: a channel's type where it is last.
        bgr: blue comes first.
    """

    channels: int
    little: np.dtype[Any]
    big: np.dtype[Any]
    bgr: bool = False


def layout(channels: int, dtype: str, *, bgr: bool = False) -> Layout:
    """Return the layout of this many channels of a type of NumPy, such as ``u2``."""
    return Layout(channels, np.dtype(f"<{dtype}"), np.dtype(f">{dtype}"), bgr)


LAYOUTS = {
    "rgb8": layout(3, "u1"),
    "bgr8": layout(3, "u1", bgr=True),
    "rgba8": layout(4, "u1"),
    "bgra8": layout(4, "u1", bgr=True),
    "8UC3": layout(3, "u1", bgr=True),
    "8UC4": layout(4, "u1", bgr=True),
    "rgb16": layout(3, "u2"),
    "bgr16": layout(3, "u2", bgr=True),
    "rgba16": layout(4, "u2"),
    "bgra16": layout(4, "u2", bgr=True),
    "16UC3": layout(3, "u2", bgr=True),
    "16UC4": layout(4, "u2", bgr=True),
    "mono8": layout(1, "u1"),
    "8UC1": layout(1, "u1"),
    "8SC1": layout(1, "i1"),
    "mono16": layout(1, "u2"),
    "16UC1": layout(1, "u2"),
    "16SC1": layout(1, "i2"),
    "32SC1": layout(1, "i4"),
}


def check_data(message: RawImage, layout: Layout, rows: int) -> None:
    """Check that the rows fit into the step and all of them into the data.

    Args:
        message: the image.
        layout: of its pixels.
        rows: how many there are; more than the height where planes follow one another.

    Raises:
        FrameError: bad_size or truncated_data.
    """
    itemsize = layout.little.itemsize
    row = message.width * layout.channels * itemsize
    if message.step < row or message.step % itemsize:
        raise FrameError(
            Reason.BAD_SIZE,
            f"image {message.width}x{message.height} {message.encoding} has step {message.step}, "
            f"expected a multiple of {itemsize} of at least {row}",
        )
    # The last row need not be padded.
    needed = message.step * (rows - 1) + row
    size = byte_count(message.data)
    if size < needed:
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"image {message.width}x{message.height} {message.encoding} has {size} bytes, "
            f"expected {needed}: the message was cut short",
        )


def view(message: RawImage, layout: Layout, rows: int) -> NDArray[Any]:
    """See a raw image's data as (rows, W) or (rows, W, channels), read-only; see `check_data`.

    Raises:
        FrameError: bad_size or truncated_data.
    """
    check_data(message, layout, rows)
    dtype = layout.big if message.is_bigendian else layout.little
    shape: tuple[int, ...] = (rows, message.width)
    strides: tuple[int, ...] = (message.step, layout.channels * dtype.itemsize)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, dtype.itemsize)
    pixels: NDArray[Any] = np.ndarray(shape, dtype, buffer=message.data, strides=strides)
    pixels.flags.writeable = False
    return pixels


def native(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels in this machine's byte order, a copy only where they are in the other."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def as_bytes(data: Buffer) -> NDArray[np.uint8]:
    """See any buffer as (n,) uint8."""
    return np.frombuffer(data, np.uint8)


def byte_count(data: Buffer) -> int:
    """Return the size of any buffer in bytes."""
    return memoryview(data).nbytes  # type: ignore[arg-type]  # typeshed before 3.12
