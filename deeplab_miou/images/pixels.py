"""Image messages to pixels: no copy where possible; aware of row step, byte order and encoding.

Raw images are seen through `numpy` over the message's own bytes. Cameras' packed YUV and Bayer
patterns are read with OpenCV, see `deeplab_miou.images.camera_encodings`; PNG and JPEG in
compressed images too, turned as their EXIF data say. There may be runs of ids in place of pixels,
see `deeplab_miou.images.run_length`.

Nothing is allocated before the size that a message claims is checked: at most 32768 pixels a side
and 2**26 (8192 x 8192) in all; of a compressed image, the size in its header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.camera_encodings import CAMERA_ENCODINGS, check_camera, read_camera
from deeplab_miou.images.compressed import (
    DEPTH_HEADER,
    DEPTH_TRANSPORT,
    RVL_TRANSPORT,
    check_size,
    decode_file,
    read_header,
)
from deeplab_miou.images.jpeg import JpegHeader
from deeplab_miou.images.messages import CompressedImage, RawImage, Undecodable
from deeplab_miou.images.raw_pixels import LAYOUTS, as_bytes, check_data, view
from deeplab_miou.images.run_length import is_run_length, read_run_length
from deeplab_miou.images.rvl import RvlHeader, decode_rvl, read_rvl_header
from deeplab_miou.text import quote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.camera_encodings import CameraEncoding
    from deeplab_miou.images.compressed import Header
    from deeplab_miou.images.messages import ImageMessage

# Start codes of H.264 and H.265, which some drivers send as compressed images.
_VIDEO_STARTS = (b"\0\0\1", b"\0\0\0\1")
_SUPPORTED = f"{', '.join([*LAYOUTS, *CAMERA_ENCODINGS])}, compressed png and jpeg"


class Pixels(NamedTuple):
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
    if not is_run_length(message):
        _check_layout(message)


def read_pixels(message: ImageMessage) -> Pixels:
    """Return a message's pixels, a view of its data where they are neither packed nor compressed.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    if isinstance(message, Undecodable):
        raise FrameError(message.reason, message.text)
    if isinstance(message, CompressedImage):
        return _decompress(message)
    check_size(message.height, message.width)
    if is_run_length(message):
        return Pixels(read_run_length(message), bgr=False, encoding=message.encoding)
    if layout := LAYOUTS.get(message.encoding):
        return Pixels(view(message, layout, message.height), layout.bgr, message.encoding)
    if camera := CAMERA_ENCODINGS.get(message.encoding):
        return Pixels(read_camera(message, camera), bgr=False, encoding=message.encoding)
    raise _unknown_encoding(message)


def read_label_pixels(message: ImageMessage) -> Pixels:
    """Return a label image's pixels, which must not be in a format that changes ids or colours.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    encoding = _encoding(message)
    if encoding in CAMERA_ENCODINGS:
        check_image(message)
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image has encoding {encoding}, which is for cameras: publish mono8, mono16, "
            "32SC1 or 8-bit colours",
        )
    if isinstance(message, CompressedImage) and isinstance(_checked_file(message)[1], JpegHeader):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image is a JPEG ({describe_encoding(message)}), which changes ids and colours: "
            "publish labels raw or as PNG",
        )
    return read_pixels(message)


def _check_layout(message: RawImage) -> None:
    """Check that an image has as many bytes as its encoding and size call for.

    Raises:
        FrameError: bad_encoding or truncated_data.
    """
    if layout := LAYOUTS.get(message.encoding):
        check_data(message, layout, message.height)
    elif camera := CAMERA_ENCODINGS.get(message.encoding):
        check_camera(message, camera)
    else:
        raise _unknown_encoding(message)


def _unknown_encoding(message: RawImage) -> FrameError:
    return FrameError(
        Reason.BAD_ENCODING,
        f"image has encoding {quote(message.encoding)}, expected one of: {_SUPPORTED}",
    )


def _decompress(message: CompressedImage) -> Pixels:
    data, header = _checked_file(message)
    if isinstance(header, RvlHeader):
        return Pixels(decode_rvl(data), bgr=False, encoding=_encoding(message))
    array, palette = decode_file(data, header)
    encoding = _encoding(message)
    camera = CAMERA_ENCODINGS.get(encoding)
    if camera is not None and array.ndim == 2 and palette is None:  # noqa: PLR2004
        # image_transport compresses a Bayer pattern as if it were brightness.
        return Pixels(_read_pattern(array, encoding, camera), bgr=False, encoding=encoding)
    # image_transport marks files whose red and blue are swapped.
    bgr = "compressed rgb" not in message.format.partition(";")[2]
    return Pixels(array, bgr, encoding, palette)


def _read_pattern(array: NDArray[Any], encoding: str, camera: CameraEncoding) -> NDArray[np.uint8]:
    height, width = array.shape
    if array.dtype != camera.layout.little.newbyteorder("="):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"compressed image claims to be {encoding}, but has {8 * array.itemsize} bits",
        )
    big = np.dtype("=u2") == np.dtype(">u2")
    step = width * array.itemsize
    return read_camera(RawImage(height, width, encoding, big, step, array.tobytes()), camera)


def _checked_file(message: CompressedImage) -> tuple[NDArray[np.uint8], Header | RvlHeader]:
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
        if RVL_TRANSPORT in message.format:
            return data, read_rvl_header(data)
    header = read_header(data)
    if header is None:
        what = (
            "is a packet of a video: publish those as foxglove_msgs/msg/CompressedVideo"
            if data[:4].tobytes().startswith(_VIDEO_STARTS)
            else "is neither a png nor a common jpeg: expected one of these"
        )
        raise FrameError(
            Reason.BAD_ENCODING,
            f"compressed image of format {quote(message.format)} ({data.size} bytes) {what}",
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


def describe_encoding(message: ImageMessage) -> str:
    """Return what an image is encoded as, for error messages."""
    if isinstance(message, Undecodable):
        return "a video"
    return quote(message.encoding if isinstance(message, RawImage) else message.format)
