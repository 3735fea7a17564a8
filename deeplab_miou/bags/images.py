"""Converts between image messages in a bag and views of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, IMAGE_TYPES, RAW_TYPE, StampedImage, read_image
from deeplab_miou.images.messages import RawImage

if TYPE_CHECKING:
    from deeplab_miou.bags.records import BagMessage

_NS = 1_000_000_000


def decode_image(message: BagMessage) -> StampedImage:
    """Return the image that a message holds; its data is a view, not a copy.

    Args:
        message: a ``sensor_msgs/msg/Image`` or ``CompressedImage``.

    Raises:
        ConfigurationError: it is of another type.
        FrameError: its bytes are not such a message.
    """
    if message.type not in IMAGE_TYPES:
        raise ConfigurationError(
            f"topic {message.topic!r} is of type {message.type}, expected "
            f"{' or '.join(IMAGE_TYPES)}"
        )
    try:
        return read_image(message.data, message.type)
    except FrameError as error:
        raise FrameError(
            error.reason,
            f"message of {message.topic} recorded at {message.timestamp_ns} ns: {error}",
        ) from None


def encode_image(stamped: StampedImage) -> tuple[str, bytes]:
    """Return type and serialised message of an image; its data stays as it is, valid or not."""
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamped.stamp_ns, _NS))
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=stamped.frame_id)
    image = stamped.image
    data = np.frombuffer(image.data, np.uint8)
    message: object
    if isinstance(image, RawImage):
        type_name = RAW_TYPE
        message = types[type_name](
            header=header,
            height=image.height,
            width=image.width,
            encoding=image.encoding,
            is_bigendian=int(image.is_bigendian),
            step=image.step,
            data=data,
        )
    else:
        type_name = COMPRESSED_TYPE
        message = types[type_name](header=header, format=image.format, data=data)
    serialised: bytes = typestore().serialize_cdr(message, type_name)
    return type_name, serialised


@cache
def typestore() -> Any:  # noqa: ANN401  (rosbags generates the message classes)
    """Return the standard message types; images are the same in every ROS 2 distribution."""
    return get_typestore(Stores.ROS2_JAZZY)
