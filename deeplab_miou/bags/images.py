"""Converts between image messages in a bag and views of them."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.images.cdr import (
    COMPRESSED_TYPE,
    IMAGE_TYPES,
    RAW_TYPE,
    VIDEO_TYPES,
    StampedImage,
    read_image,
    read_packet,
)
from deeplab_miou.images.messages import RawImage, Undecodable
from deeplab_miou.images.pixels import check_image

if TYPE_CHECKING:
    from deeplab_miou.bags.contents import BagMessage

_NS = 1_000_000_000
# Of no ROS 2 message: what stands for a picture of a video that could not be decoded.
_UNDECODABLE_TYPE = "undecodable"
_NOT_DECODED = Undecodable(Reason.LOST_REFERENCE, "the picture of a video was not decoded")


def deserialise_image(message: BagMessage) -> StampedImage:
    """Return the image that a message holds; its data is a view, not a copy.

    Args:
        message: a ``sensor_msgs/msg/Image`` or ``CompressedImage``; of a packet of a video only the
            header is read here.

    Raises:
        ConfigurationError: it is of another type.
        FrameError: its bytes are not such a message.
    """
    if message.type == _UNDECODABLE_TYPE:
        stamp_ns, frame_id, reason, text = json.loads(message.data)
        return StampedImage(stamp_ns, frame_id, Undecodable(Reason[reason], text))
    if message.type not in (*IMAGE_TYPES, *VIDEO_TYPES):
        raise ConfigurationError(
            f"topic {message.topic!r} is of type {message.type}, expected "
            f"{' or '.join(IMAGE_TYPES)}"
        )
    try:
        if message.type in VIDEO_TYPES:
            packet = read_packet(message.data, message.type)
            return StampedImage(packet.stamp_ns, packet.frame_id, _NOT_DECODED)
        return read_image(message.data, message.type)
    except FrameError as error:
        raise FrameError(
            error.reason,
            f"message of {message.topic} recorded at {message.timestamp_ns} ns: {error}",
        ) from None


def checked_image(message: BagMessage) -> StampedImage:
    """Return the image that a message holds, if it can be one of its type at all.

    Raises:
        FrameError: its bytes or its fields are not valid.
    """
    stamped = deserialise_image(message)
    check_image(stamped.image)
    return stamped


def serialise_image(stamped: StampedImage) -> tuple[str, bytes]:
    """Return type and serialised message of an image; its data stays as it is, valid or not."""
    image = stamped.image
    if isinstance(image, Undecodable):
        fields = [stamped.stamp_ns, stamped.frame_id, image.reason.name, image.text]
        return _UNDECODABLE_TYPE, json.dumps(fields).encode()
    types = typestore().types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamped.stamp_ns, _NS))
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=stamped.frame_id)
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
