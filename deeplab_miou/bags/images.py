"""Image messages between a bag's bytes and views of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.images import CompressedImage, ImageMessage, RawImage

if TYPE_CHECKING:
    from deeplab_miou.bags.records import BagMessage

RAW_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW_TYPE, COMPRESSED_TYPE)

_NS = 1_000_000_000


class StampedImage(NamedTuple):
    """An image message with its header.

    Attributes:
        stamp_ns: header stamp in nanoseconds.
        frame_id: the header's coordinate frame.
        image: the image; its data is a view of the recorded bytes.
    """

    stamp_ns: int
    frame_id: str
    image: ImageMessage


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
        # A memoryview, because the deserialiser slices: slicing bytes would copy the payload.
        decoded: Any = typestore().deserialize_cdr(memoryview(message.data), message.type)
    except SerdeError as error:
        raise FrameError(
            Reason.TRUNCATED_DATA,
            f"message of {message.topic} recorded at {message.timestamp_ns} ns is not a valid "
            f"{message.type}: {error}",
        ) from None
    stamp = decoded.header.stamp
    image: ImageMessage
    if message.type == RAW_TYPE:
        image = RawImage(
            height=decoded.height,
            width=decoded.width,
            encoding=decoded.encoding,
            is_bigendian=bool(decoded.is_bigendian),
            step=decoded.step,
            data=decoded.data,
        )
    else:
        image = CompressedImage(format=decoded.format, data=decoded.data)
    return StampedImage(stamp.sec * _NS + stamp.nanosec, decoded.header.frame_id, image)


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
