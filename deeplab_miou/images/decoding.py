"""Image messages to arrays: no copy where possible; aware of row step, byte order and encoding.

Raw images are seen through `numpy` over the message's own bytes: colours of 8 and 16 bits (8UC3
and the like are taken as bgr), single channels of 8, 16 and 32 bits. Cameras' packed YUV and Bayer
patterns are read with OpenCV, see `deeplab_miou.images.camera_encodings`; PNG and JPEG in
compressed images too, turned as their EXIF data say.

In label images, single channels are ids, never brightness: 8 bits are not stretched, 16 bits not
scaled; so they are in the compressedDepth transport. Three or four channels are colours that the
label map knows, or hold ids where it says so; an indexed PNG is read as `LabelMap.map_indexed` has
it. JPEG labels are refused, because JPEG changes ids and colours. Alpha is not looked at. There may
be runs of ids in place of pixels, see `deeplab_miou.images.run_length`.

In camera images, 16 bits are scaled to 8. Depth and float images are no camera images.

Nothing is allocated before the size that a message claims is checked: at most 32768 pixels a side
and 2**26 (8192 x 8192) in all; of a compressed image, the size in its header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.camera_encodings import (
    CAMERA_ENCODINGS,
    check_camera,
    read_camera,
    to_bytes,
)
from deeplab_miou.images.compressed import (
    DEPTH_HEADER,
    DEPTH_TRANSPORT,
    check_size,
    decode_file,
    read_header,
)
from deeplab_miou.images.jpeg import JpegHeader
from deeplab_miou.images.messages import CompressedImage, RawImage, Undecodable
from deeplab_miou.images.raw_pixels import (
    LAYOUTS,
    as_bytes,
    byte_count,
    check_data,
    native,
    view,
)
from deeplab_miou.images.run_length import is_run_length, read_run_length
from deeplab_miou.text import quote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.camera_encodings import CameraEncoding
    from deeplab_miou.images.compressed import Header
    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap, MappedLabels

_SUPPORTED = f"{', '.join([*LAYOUTS, *CAMERA_ENCODINGS])}, compressed png and jpeg"
# What a camera's single channel is called; 16UC1 is how depth cameras name their millimetres.
_BRIGHTNESS = ("mono8", "8UC1", "mono16")


class _Pixels(NamedTuple):
    """Decoded pixels: (H, W) of one channel, else (H, W, 3 or 4) in the order given.

    Attributes:
        array: the pixels.
        bgr: blue comes first.
        encoding: what the publisher calls it; empty where a file alone says what it is.
        palette: (k, 3) uint8 RGB of an indexed PNG, whose indices ``array`` holds.
    """

    array: NDArray[Any]
    bgr: bool
    encoding: str
    palette: NDArray[np.uint8] | None = None


def check_image(message: ImageMessage) -> None:
    """Check what a message claims, quickly and without decoding it; decoding may still fail.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    if isinstance(message, Undecodable):
        return
    if isinstance(message, CompressedImage):
        _checked_file(message)
        return
    check_size(message.height, message.width)
    if is_run_length(message):
        return
    if layout := LAYOUTS.get(message.encoding):
        check_data(message, layout, message.height)
    elif camera := CAMERA_ENCODINGS.get(message.encoding):
        check_camera(message, camera)
    else:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image has encoding {quote(message.encoding)}, expected one of: {_SUPPORTED}",
        )


def decode_color(message: ImageMessage) -> NDArray[np.uint8]:
    """Return a camera image as (H, W, 3) uint8 RGB.

    A read-only view of the message's data for plain encodings of 8 bits, with any strides: bgr has
    a negative one, gray is repeated by a stride of 0.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    pixels = _read(message)
    array = pixels.array
    if pixels.palette is not None:
        colors: NDArray[np.uint8] = pixels.palette[np.minimum(array, len(pixels.palette) - 1)]
        return colors
    if array.ndim == 2 and pixels.encoding not in (*_BRIGHTNESS, ""):  # noqa: PLR2004
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image is of {quote(pixels.encoding)}, which holds depth or ids and no brightness: "
            "publish camera images as rgb8, bgr8, mono8 or mono16",
        )
    array = to_bytes(array)
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
    if pixels.palette is not None:
        return label_map.map_indexed(pixels.array, pixels.palette)
    if pixels.array.ndim == 2:  # noqa: PLR2004
        return label_map.map_ids(_ids(pixels.array))
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
    if pixels.palette is not None:
        return label_map.unknown_indexed(pixels.array, pixels.palette)
    if pixels.array.ndim == 2:  # noqa: PLR2004
        return label_map.unknown_ids(_ids(pixels.array))
    return label_map.unknown_colors(pixels.array, bgr=pixels.bgr)


def decode_ids(
    message: ImageMessage, label_map: LabelMap | None = None
) -> NDArray[np.uint8 | np.uint16 | np.int32]:
    """Return the raw ids of a single-channel image, (H, W) uint8, uint16 or int32, not mapped.

    A read-only view of the message's data unless it is compressed or of the other byte order. Of an
    indexed PNG these are the indices.

    Args:
        message: the image.
        label_map: by which an indexed PNG is doubted: its palette may be meant instead.

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
    if pixels.palette is not None and label_map is not None:
        label_map.check_index(pixels.array, pixels.palette)
    return _ids(pixels.array)


def byte_size(message: ImageMessage) -> int:
    """Return the size of the message's payload in bytes."""
    return byte_count(message.data)


def _read(message: ImageMessage) -> _Pixels:
    if isinstance(message, Undecodable):
        raise FrameError(message.reason, message.text)
    if isinstance(message, CompressedImage):
        return _decompress(message)
    check_image(message)
    if camera := CAMERA_ENCODINGS.get(message.encoding):
        return _Pixels(read_camera(message, camera), bgr=False, encoding=message.encoding)
    if is_run_length(message):
        return _Pixels(read_run_length(message), bgr=False, encoding=message.encoding)
    layout = LAYOUTS[message.encoding]
    return _Pixels(view(message, layout, message.height), layout.bgr, message.encoding)


def _read_labels(message: ImageMessage) -> _Pixels:
    encoding = _encoding(message)
    if encoding in CAMERA_ENCODINGS:
        check_image(message)
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image is of {encoding}, which is for cameras: publish mono8, mono16, 32SC1 or "
            "8-bit colours",
        )
    if isinstance(message, CompressedImage) and isinstance(_checked_file(message)[1], JpegHeader):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image is a JPEG ({_name(message)}), which changes ids and colours: publish "
            "labels raw or as PNG",
        )
    return _read(message)


def _ids(ids: NDArray[Any]) -> NDArray[np.uint8 | np.uint16 | np.int32]:
    """Return ids in one of three types; signed ones of 8 and 16 bits become 32 bits."""
    return native(ids) if ids.dtype.kind == "u" or ids.itemsize > 2 else ids.astype(np.int32)  # noqa: PLR2004


def _decompress(message: CompressedImage) -> _Pixels:
    data, header = _checked_file(message)
    array, palette = decode_file(data, header)
    encoding = _encoding(message)
    camera = CAMERA_ENCODINGS.get(encoding)
    if camera is not None and array.ndim == 2 and palette is None:  # noqa: PLR2004
        # image_transport compresses a Bayer pattern as if it were brightness.
        return _Pixels(_read_pattern(array, encoding, camera), bgr=False, encoding=encoding)
    # image_transport marks files whose red and blue are swapped.
    bgr = "compressed rgb" not in message.format.partition(";")[2]
    return _Pixels(array, bgr, encoding, palette)


def _read_pattern(array: NDArray[Any], encoding: str, camera: CameraEncoding) -> NDArray[np.uint8]:
    height, width = array.shape
    if array.dtype != camera.layout.little.newbyteorder("="):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"compressed image is called {encoding}, but has {8 * array.itemsize} bits",
        )
    big = np.dtype("=u2") == np.dtype(">u2")
    step = width * array.itemsize
    return read_camera(RawImage(height, width, encoding, big, step, array.tobytes()), camera)


def _checked_file(message: CompressedImage) -> tuple[NDArray[np.uint8], Header]:
    """Return the file in a message and its header."""
    data = as_bytes(message.data)
    if DEPTH_TRANSPORT in message.format:
        if _encoding(message) != "16UC1":
            raise FrameError(
                Reason.BAD_ENCODING,
                f"compressed image is of {quote(message.format)}, expected 16UC1 where it is of "
                "image_transport's compressedDepth: publish ids as 16UC1",
            )
        data = data[DEPTH_HEADER.size :]
    header = read_header(data)
    if header is None:
        raise FrameError(
            Reason.BAD_ENCODING,
            f"compressed image of format {quote(message.format)} ({data.size} bytes) is neither a "
            "png nor a common jpeg: expected one of these",
        )
    check_size(header.height, header.width)
    return data, header


def _encoding(message: ImageMessage) -> str:
    """Return the encoding as published; empty where only a file's kind is given."""
    if isinstance(message, Undecodable):
        return ""
    if isinstance(message, RawImage):
        return message.encoding
    first = message.format.partition(";")[0].strip()
    return first if first in LAYOUTS or first in CAMERA_ENCODINGS else ""


def _name(message: ImageMessage) -> str:
    if isinstance(message, Undecodable):
        return "a video"
    return quote(message.encoding if isinstance(message, RawImage) else message.format)
