"""Image messages to arrays: no copy where possible; aware of row step, byte order and encoding.

Raw images are seen through `numpy` over the message's own bytes. Read without help: rgb8, bgr8,
rgba8, bgra8, 8UC3 and 8UC4 (taken as bgr), mono8, 8UC1, mono16, 16UC1, 32SC1, and PNG and JPEG in
compressed images. Other encodings go through the converter of the process, if it has one, see
`deeplab_miou.images.raw_pixels`.

In label images, single channels are ids, never brightness: 8 bits are not stretched, 16 bits not
scaled. Three or four channels are colours that the label map knows; so are PNGs with a palette.
JPEG labels are refused, because JPEG changes ids and colours. Alpha is not looked at.

Nothing is allocated before the size that a message claims is checked: at most 32768 pixels a side
and 2**26 (8192 x 8192) in all; of a compressed image, the size in its header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.compressed import (
    PNG_GRAY,
    PNG_PALETTE,
    check_size,
    decode_file,
    read_header,
)
from deeplab_miou.images.messages import CompressedImage, RawImage
from deeplab_miou.images.raw_pixels import (
    LAYOUTS,
    as_bytes,
    byte_count,
    can_convert,
    check_data,
    convert,
    quote,
    unknown_encoding,
    view,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.compressed import Header
    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap, MappedLabels


class _Pixels(NamedTuple):
    """Decoded pixels: (H, W) of one channel, else (H, W, 3 or 4) in the order given."""

    array: NDArray[Any]
    bgr: bool
    gray_levels: int = 1  # a PNG of less than 8 bits is decoded as id times this
    lossy: bool = False
    palette: bool = False


def check_image(message: ImageMessage) -> None:
    """Check what a message claims, quickly and without decoding it; decoding may still fail.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    if isinstance(message, CompressedImage):
        _checked_header(message)
        return
    check_size(message.height, message.width)
    layout = LAYOUTS.get(message.encoding)
    if layout is not None:
        check_data(message, layout)
    elif not can_convert():
        raise unknown_encoding(message)


def decode_color(message: ImageMessage) -> NDArray[np.uint8]:
    """Return a camera image as (H, W, 3) uint8 RGB.

    A read-only view of the message's data for all encodings of 8 bits, with any strides: bgr has a
    negative one, gray is repeated by a stride of 0.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    pixels = _read(message, "rgb8")
    array = pixels.array
    if array.dtype != np.uint8:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image has {8 * array.itemsize}-bit channels ({_name(message)}), expected 8 bits: "
            "publish it as rgb8, bgr8 or mono8",
        )
    if array.ndim == 2:  # noqa: PLR2004
        return np.broadcast_to(array[..., None], (*array.shape, 3))
    return array[..., 2::-1] if pixels.bgr else array[..., :3]


def decode_labels(message: ImageMessage, label_map: LabelMap) -> MappedLabels:
    """Return a label image in train ids; one channel is raw ids, three or four are colours.

    Raises:
        FrameError: bad_encoding, bad_size, truncated_data, or unknown_label when the label map
            says so.
    """
    pixels = _read_labels(message)
    if pixels.array.ndim == 2:  # noqa: PLR2004
        return label_map.map_ids(_ids(pixels, message))
    if pixels.array.dtype != np.uint8:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image has colours of {8 * pixels.array.itemsize} bits ({_name(message)}), "
            "expected 8: publish ids (mono8, mono16) or 8-bit colours",
        )
    if pixels.palette and not label_map.has_colors:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image is a PNG with a palette, whose colours label map {label_map.name} does "
            "not have: publish ids as grey PNG, or give the classes a color",
        )
    return label_map.map_colors(pixels.array, bgr=pixels.bgr)


def unknown_labels(message: ImageMessage, label_map: LabelMap) -> str:
    """Name the most frequent ids or colours of a label image that the label map does not know.

    Args:
        message: one that `decode_labels` can decode.
        label_map: what its pixels should mean.

    Returns:
        One line for people; empty if all are known.
    """
    pixels = _read_labels(message)
    if pixels.array.ndim == 2:  # noqa: PLR2004
        return label_map.unknown_ids(_ids(pixels, message))
    return label_map.unknown_colors(pixels.array, bgr=pixels.bgr)


def decode_ids(message: ImageMessage) -> NDArray[np.uint8 | np.uint16 | np.int32]:
    """Return the raw ids of a single-channel image, (H, W) uint8, uint16 or int32, not mapped.

    A read-only view of the message's data unless it is compressed or of the other byte order.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    pixels = _read_labels(message)
    if pixels.array.ndim != 2:  # noqa: PLR2004
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image of ids has {pixels.array.shape[2]} channels ({_name(message)}), expected one: "
            "publish mono8, mono16 or 32SC1",
        )
    return _ids(pixels, message)


def image_size(message: ImageMessage) -> tuple[int, int] | None:
    """Return (height, width) as the message or its PNG or JPEG header claims, None if unreadable.

    Nothing is decoded, and nothing checked: decoding may still fail.
    """
    if isinstance(message, RawImage):
        return message.height, message.width
    header = read_header(as_bytes(message.data))
    return None if header is None else (header.height, header.width)


def byte_size(message: ImageMessage) -> int:
    """Return the size of the message's payload in bytes."""
    return byte_count(message.data)


def _read(message: ImageMessage, wanted: str) -> _Pixels:
    if isinstance(message, CompressedImage):
        return _decompress(message, wanted)
    check_size(message.height, message.width)
    layout = LAYOUTS.get(message.encoding)
    if layout is None:
        return _Pixels(convert(message, wanted), bgr=False)
    return _Pixels(view(message, layout), layout.bgr)


def _read_labels(message: ImageMessage) -> _Pixels:
    pixels = _read(message, "passthrough")
    if pixels.lossy:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image is a JPEG ({_name(message)}), which changes ids and colours: publish "
            "labels raw or as PNG",
        )
    return pixels


def _ids(pixels: _Pixels, message: ImageMessage) -> NDArray[np.uint8 | np.uint16 | np.int32]:
    ids = pixels.array
    if ids.dtype.newbyteorder("=") not in (np.uint8, np.uint16, np.int32):
        # A converter may hand out int8 or int16 (8SC1, 16SC1): exact in 32 bits.
        if ids.dtype.kind not in "iu" or ids.itemsize > 2:  # noqa: PLR2004
            raise FrameError(
                Reason.BAD_ENCODING,
                f"label image has pixels of {ids.dtype} ({_name(message)}), expected whole "
                "numbers: publish mono8, mono16 or 32SC1",
            )
        return ids.astype(np.int32)
    if not ids.dtype.isnative:
        return ids.astype(ids.dtype.newbyteorder("="))
    return ids // ids.dtype.type(pixels.gray_levels) if pixels.gray_levels > 1 else ids


def _decompress(message: CompressedImage, wanted: str) -> _Pixels:
    header = _checked_header(message)
    data = as_bytes(message.data)
    array = decode_file(data, header)
    source, _, target = message.format.partition(";")
    if source.startswith("bayer_") and array.ndim == 2:  # noqa: PLR2004
        height, width = array.shape
        step, big = width * array.itemsize, np.dtype("=u2").str == ">u2"
        raw = RawImage(height, width, source, big, step, array.tobytes())
        return _Pixels(convert(raw, wanted), bgr=False)
    levels = 255 // ((1 << header.depth) - 1) if header.depth < 8 else 1  # noqa: PLR2004
    return _Pixels(
        array,
        # image_transport marks files whose red and blue are swapped.
        bgr="compressed rgb" not in target,
        gray_levels=levels if header.color_type == PNG_GRAY else 1,
        lossy=header.kind == "jpeg",
        palette=header.color_type == PNG_PALETTE,
    )


def _checked_header(message: CompressedImage) -> Header:
    if "compressedDepth" in message.format:
        raise FrameError(
            Reason.BAD_ENCODING,
            "image is of image_transport's compressedDepth, which is for depth: use its "
            "compressed transport with png",
        )
    data = as_bytes(message.data)
    header = read_header(data)
    if header is None:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"compressed image of format {quote(message.format)} ({data.size} bytes) starts like "
            "neither png nor jpeg: expected one of these",
        )
    check_size(header.height, header.width)
    return header


def _name(message: ImageMessage) -> str:
    return quote(message.encoding if isinstance(message, RawImage) else message.format)
