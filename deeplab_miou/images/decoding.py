"""Image messages to colours, to labels in train ids, or to raw ids.

Colours of 8 and 16 bits (8UC3 and the like are taken as bgr) and single channels of 8, 16 and 32
bits are read, see `deeplab_miou.images.pixels`.

In label images, single channels are ids, never brightness: 8 bits are not stretched, 16 bits not
scaled; so they are in the compressedDepth transport. Three or four channels are colours that the
label map knows, or hold ids where it says so; an indexed PNG is read as
`deeplab_miou.labels.indexed_png` has it. JPEG labels are refused, because JPEG changes ids and
colours. Alpha is not looked at.

In camera images, 16 bits are scaled to 8. Depth and float images are not camera images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.camera_encodings import to_bytes
from deeplab_miou.images.pixels import describe_encoding, read_label_pixels, read_pixels
from deeplab_miou.images.raw_pixels import native
from deeplab_miou.labels.indexed_png import check_means_indices, map_indexed, unknown_indexed
from deeplab_miou.text import quote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap, MappedLabels

# What a camera's single channel is called; 16UC1 is how depth cameras name their millimetres.
_BRIGHTNESS = ("mono8", "8UC1", "mono16")


def decode_color(message: ImageMessage) -> NDArray[np.uint8]:
    """Return a camera image as (H, W, 3) uint8 RGB.

    A read-only view of the message's data for plain encodings of 8 bits, with any strides: bgr has
    a negative one, gray is repeated by a stride of 0.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    pixels = read_pixels(message)
    array = pixels.array
    if pixels.palette is not None:
        colors: NDArray[np.uint8] = pixels.palette[np.minimum(array, len(pixels.palette) - 1)]
        return colors
    if array.ndim == 2 and pixels.encoding not in (*_BRIGHTNESS, ""):  # noqa: PLR2004
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image has encoding {quote(pixels.encoding)}, which is for depth or ids, not for "
            "brightness: publish camera images as rgb8, bgr8, mono8 or mono16",
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
    pixels = read_label_pixels(message)
    if pixels.palette is not None:
        return map_indexed(label_map, pixels.array, pixels.palette)
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
    pixels = read_label_pixels(message)
    if pixels.palette is not None:
        return unknown_indexed(label_map, pixels.array, pixels.palette)
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
        label_map: tells whether an indexed PNG means its palette instead of its indices.

    Raises:
        FrameError: bad_encoding, bad_size or truncated_data.
    """
    pixels = read_label_pixels(message)
    if pixels.array.ndim != 2:  # noqa: PLR2004
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image of ids has {pixels.array.shape[2]} channels ({describe_encoding(message)}), "
            "expected one: publish mono8, mono16 or 32SC1",
        )
    if pixels.palette is not None and label_map is not None:
        check_means_indices(label_map, pixels.array, pixels.palette)
    return _ids(pixels.array)


def _ids(ids: NDArray[Any]) -> NDArray[np.uint8 | np.uint16 | np.int32]:
    """Return ids in one of three types; signed ones of 8 and 16 bits become 32 bits."""
    return native(ids) if ids.dtype.kind == "u" or ids.itemsize > 2 else ids.astype(np.int32)  # noqa: PLR2004
