"""Camera encodings other than plain pixels: packed YUV and Bayer patterns, read with OpenCV.

YUV is read as BT.601 with limited range, as ``cv_bridge`` and camera drivers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.raw_pixels import check_data, layout, native, view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.messages import RawImage
    from deeplab_miou.images.raw_pixels import Layout

# Of a Bayer pattern; the smallest that OpenCV interpolates.
_LEAST_SIDE = 3
_FULL_SCALE = 255 / 65535


class CameraEncoding(NamedTuple):
    """How a camera's encoding is stored and read.

    Attributes:
        layout: of what is stored for a pixel.
        code: OpenCV's conversion to RGB.
        row_step: the height is a multiple of this.
        column_step: the width is a multiple of this.
        half_planes: planes of half the height that follow the first.
    """

    layout: Layout
    code: int
    row_step: int = 1
    column_step: int = 1
    half_planes: int = 0


_UYVY = CameraEncoding(layout(2, "u1"), cv2.COLOR_YUV2RGB_UYVY, column_step=2)
_YUYV = CameraEncoding(layout(2, "u1"), cv2.COLOR_YUV2RGB_YUY2, column_step=2)
_BAYER = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
}
CAMERA_ENCODINGS = {
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "nv12": CameraEncoding(layout(1, "u1"), cv2.COLOR_YUV2RGB_NV12, 2, 2, half_planes=1),
    "nv21": CameraEncoding(layout(1, "u1"), cv2.COLOR_YUV2RGB_NV21, 2, 2, half_planes=1),
    **{
        f"bayer_{order}{8 * size}": CameraEncoding(layout(1, f"u{size}"), code)
        for order, code in _BAYER.items()
        for size in (1, 2)
    },
}


def check_camera(message: RawImage, encoding: CameraEncoding) -> None:
    """Check that the encoding allows the image's size, and that its data is complete.

    Raises:
        FrameError: bad_size or truncated_data.
    """
    least = _LEAST_SIDE if encoding.code in _BAYER.values() else 1
    divides = not (message.height % encoding.row_step or message.width % encoding.column_step)
    if not divides or min(message.height, message.width) < least:
        raise FrameError(
            Reason.BAD_SIZE,
            f"image is {message.width}x{message.height} of {message.encoding}, expected a width "
            f"that is a multiple of {encoding.column_step}, a height that is a multiple of "
            f"{encoding.row_step}, and at least {least} of each",
        )
    check_data(message, encoding.layout, _rows(message, encoding))


def read_camera(message: RawImage, encoding: CameraEncoding) -> NDArray[np.uint8]:
    """Return a camera's image as (H, W, 3) uint8 RGB.

    Raises:
        FrameError: bad_size or truncated_data.
    """
    check_camera(message, encoding)
    stored = native(view(message, encoding.layout, _rows(message, encoding)))
    return to_bytes(cv2.cvtColor(stored, encoding.code))


def to_bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return channels of 16 bits scaled to 8, so that white stays white; others as they are."""
    if pixels.dtype == np.uint8:
        return cast("NDArray[np.uint8]", pixels)
    return cast("NDArray[np.uint8]", cv2.convertScaleAbs(native(pixels), alpha=_FULL_SCALE))


def _rows(message: RawImage, encoding: CameraEncoding) -> int:
    return message.height + encoding.half_planes * message.height // 2
