"""Raw images as arrays: what the encodings mean, and whether there are as many bytes as claimed.

Encodings that are not read here go through the converter given to `register_converter`, if any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from deeplab_miou.images.messages import Buffer, RawImage

    Converter = Callable[[RawImage, str], NDArray[Any]]


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


def _layout(channels: int, dtype: str, *, bgr: bool = False) -> Layout:
    return Layout(channels, np.dtype(f"<{dtype}"), np.dtype(f">{dtype}"), bgr)


LAYOUTS = {
    "rgb8": _layout(3, "u1"),
    "bgr8": _layout(3, "u1", bgr=True),
    "rgba8": _layout(4, "u1"),
    "bgra8": _layout(4, "u1", bgr=True),
    "8UC3": _layout(3, "u1", bgr=True),
    "8UC4": _layout(4, "u1", bgr=True),
    "mono8": _layout(1, "u1"),
    "8UC1": _layout(1, "u1"),
    "mono16": _layout(1, "u2"),
    "16UC1": _layout(1, "u2"),
    "32SC1": _layout(1, "i4"),
}
_SUPPORTED = f"{', '.join(LAYOUTS)}, compressed png and jpeg"


def check_data(message: RawImage, layout: Layout) -> None:
    """Check that the rows fit into the step and all of them into the data.

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
    needed = message.step * (message.height - 1) + row
    size = byte_count(message.data)
    if size < needed:
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"image {message.width}x{message.height} {message.encoding} has {size} bytes, "
            f"expected {needed}: the message was cut short",
        )


def view(message: RawImage, layout: Layout) -> NDArray[Any]:
    """See a raw image's data as (H, W) or (H, W, channels), read-only.

    Raises:
        FrameError: bad_size or truncated_data.
    """
    check_data(message, layout)
    dtype = layout.big if message.is_bigendian else layout.little
    shape: tuple[int, ...] = (message.height, message.width)
    strides: tuple[int, ...] = (message.step, layout.channels * dtype.itemsize)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, dtype.itemsize)
    pixels: NDArray[Any] = np.ndarray(shape, dtype, buffer=message.data, strides=strides)
    pixels.flags.writeable = False
    return pixels


class _Registry:
    """The one converter of the process."""

    converter: Converter | None = None


def register_converter(converter: Converter | None) -> None:
    """Set what reads raw images of encodings that this module does not read itself.

    The core knows no ROS packages: a node registers ``cv_bridge`` here when it is installed.

    Args:
        converter: called with a message and the encoding wanted, ``rgb8`` or, for labels,
            ``passthrough``; returns (H, W, 3) uint8 or, for labels, (H, W) of integers. Any
            exception of it becomes a `FrameError`. None: none.
    """
    _Registry.converter = converter


def can_convert() -> bool:
    """Return whether there is a converter."""
    return _Registry.converter is not None


def convert(message: RawImage, wanted: str) -> NDArray[Any]:
    """Have the converter read an image.

    Args:
        message: of any encoding.
        wanted: ``rgb8``, or ``passthrough`` for labels.

    Raises:
        FrameError: bad_encoding: there is no converter, or it cannot.
    """
    if _Registry.converter is None:
        raise unknown_encoding(message)
    try:
        array = np.asarray(_Registry.converter(message, wanted))
    except Exception as error:  # a converter fails in its own ways, and only this frame is lost
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image of encoding {quote(message.encoding)} could not be converted to {wanted}: "
            f"{quote(str(error))}",
        ) from error
    expected = (message.height, message.width, 3) if wanted == "rgb8" else array.shape[:2]
    if array.shape != expected or array.shape[:2] != (message.height, message.width):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image of encoding {quote(message.encoding)} was converted to shape {array.shape}, "
            f"expected {'(height, width, 3)' if wanted == 'rgb8' else 'ids (height, width)'}",
        )
    return array


def unknown_encoding(message: RawImage) -> FrameError:
    """Return what to raise for an encoding that nothing here reads."""
    return FrameError(
        Reason.BAD_ENCODING,
        f"image has encoding {quote(message.encoding)}, expected one of: {_SUPPORTED}; other "
        "encodings need cv_bridge",
    )


def as_bytes(data: Buffer) -> NDArray[np.uint8]:
    """See any buffer as (n,) uint8."""
    return np.frombuffer(data, np.uint8)


def byte_count(data: Buffer) -> int:
    """Return the size of any buffer in bytes."""
    return memoryview(data).nbytes  # type: ignore[arg-type]  # typeshed before 3.12


def quote(text: str) -> str:
    """Quote text that came from a message: on one line, and not without end."""
    return repr(text[:80] + "..." if len(text) > 80 else text)  # noqa: PLR2004
