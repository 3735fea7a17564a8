"""Our messages in CDR, from the definitions that ship with the package."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from deeplab_miou.recording.fields import (
    class_fields,
    mean_iou_fields,
    region_fields,
    slice_fields,
)
from deeplab_miou.recording.frame_bytes import split_stamp
from deeplab_miou.resources import share_directory

if TYPE_CHECKING:
    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.aggregation.results import Result

MEAN_IOU = "deeplab_miou_msgs/msg/MeanIoU"
FRAME_SCORE = "deeplab_miou_msgs/msg/FrameScore"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"


@cache
def typestore() -> Any:  # noqa: ANN401  (rosbags generates the message classes)
    """Return the standard message types and ours.

    Raises:
        FileNotFoundError: the installation lacks the definitions of our messages.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    folder = share_directory() / "deeplab_miou_msgs" / "msg"
    types: dict[str, Any] = {}
    for path in sorted(folder.glob("*.msg")):
        text = path.read_text(encoding="utf-8")
        types |= get_types_from_msg(text, f"deeplab_miou_msgs/msg/{path.stem}")
    if MEAN_IOU not in types:
        raise FileNotFoundError(f"no message definitions in {folder}: the installation is broken")
    store.register(types)
    return store


def encode_result(result: Result) -> bytes:
    """Return scores as a serialised ``MeanIoU``."""
    types = typestore().types
    message = types[MEAN_IOU](
        header=_header(result.totals.stamp_ns, ""),
        **mean_iou_fields(result),
        classes=_classes(result),
        regions=[
            types["deeplab_miou_msgs/msg/RegionIoU"](
                **region_fields(name, each), classes=_classes(each)
            )
            for name, each in result.regions.items()
        ],
        slices=[
            types["deeplab_miou_msgs/msg/SliceScore"](
                **slice_fields(tag, each), classes=_classes(each)
            )
            for tag, each in result.slices.items()
        ],
        images=_account(result.totals.account.images),
        labels=_account(result.totals.account.labels),
    )
    return bytes(typestore().serialize_cdr(message, MEAN_IOU))


def _classes(result: Result) -> list[Any]:
    class_iou = typestore().types["deeplab_miou_msgs/msg/ClassIoU"]
    return [class_iou(**each) for each in class_fields(result)]


def encode_jpeg(jpeg: bytes, stamp_ns: int, frame_id: str) -> bytes:
    """Return a picture as a serialised ``CompressedImage``."""
    message = typestore().types[COMPRESSED_IMAGE](
        header=_header(stamp_ns, frame_id), format="jpeg", data=np.frombuffer(jpeg, np.uint8)
    )
    return bytes(typestore().serialize_cdr(message, COMPRESSED_IMAGE))


def _header(stamp_ns: int, frame_id: str) -> Any:  # noqa: ANN401  (as above)
    types = typestore().types
    seconds, nanoseconds = split_stamp(stamp_ns)
    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def _account(counts: StreamCounts) -> Any:  # noqa: ANN401  (as above)
    return typestore().types["deeplab_miou_msgs/msg/StreamAccount"](
        received=counts.received,
        evaluated=counts.evaluated,
        waiting=max(counts.waiting, 0),
        reasons=list(counts.dropped),
        dropped=np.array(list(counts.dropped.values()), np.uint64),
    )
