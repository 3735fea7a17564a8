"""Which types of messages an evaluator takes, and why it refuses others that could be meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensor_msgs.msg import CompressedImage, Image

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.images.cdr import COMPRESSED_TYPE, RAW_TYPE, VIDEO_TYPES
from deeplab_miou.labels.messages import LABEL_INFO_TYPES
from deeplab_miou.nodes.ros.message_types import message_class
from deeplab_miou.video.decoder import check_installed

if TYPE_CHECKING:
    from collections.abc import Mapping

_IMAGE_TYPES: dict[str, type] = {RAW_TYPE: Image, COMPRESSED_TYPE: CompressedImage}


@dataclass(frozen=True)
class AcceptedTypes:
    """Types of messages that a subscription takes.

    Attributes:
        received: their classes by name, the preferred first.
        refused: what others are that could be meant, and why they are not received, by name.
        what: what messages are, for people.
    """

    received: Mapping[str, type]
    refused: Mapping[str, str]
    what: str = "images"


def label_types() -> AcceptedTypes:
    """Return the types that labels and predictions may have."""
    return AcceptedTypes(
        _IMAGE_TYPES,
        dict.fromkeys(VIDEO_TYPES, "which changes ids and colours: publish labels as images"),
    )


def camera_types() -> AcceptedTypes:
    """Return the types that camera images may have, videos too where they can be received."""
    received, refused = dict(_IMAGE_TYPES), {}
    for kind in VIDEO_TYPES:
        found = message_class(kind)
        package = kind.partition("/")[0]
        if found is None:
            refused[kind] = (
                f"and {package} is not installed here: apt install "
                f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
            )
            continue
        try:
            check_installed()
            received[kind] = found
        except ConfigurationError as error:
            refused[kind] = f"and {error}"
    return AcceptedTypes(received, refused)


def label_info_types() -> AcceptedTypes:
    """Return the types that messages which name ids may have; vision_msgs is optional."""
    found = {kind: message_class(kind) for kind in LABEL_INFO_TYPES}
    return AcceptedTypes(
        {kind: each for kind, each in found.items() if each is not None},
        {
            kind: f"and {kind.partition('/')[0]} is not installed here: apt install "
            "ros-$ROS_DISTRO-vision-msgs"
            for kind, each in found.items()
            if each is None
        },
        "label info",
    )
