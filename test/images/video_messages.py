"""Messages of videos as rosbags serialises them."""

from pathlib import Path

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

FOXGLOVE = "foxglove_msgs/msg/CompressedVideo"
FFMPEG = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
# Without their comments as upstream has them, foxglove-sdk and ffmpeg_image_transport_msgs.
DEFINITIONS = Path(__file__).parents[1] / "messages"
STORE = get_typestore(Stores.ROS2_JAZZY)
for _name in (FOXGLOVE, FFMPEG):
    _file = DEFINITIONS / f"{_name.replace('/msg/', '/')}.msg"
    STORE.register(get_types_from_msg(_file.read_text(), _name))


def serialise(kind, stamp_ns, encoding, data, number=0, *, frame_id="camera", little_endian=True):
    """Return a message as rosbags serialises it."""
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
    array = np.frombuffer(data, np.uint8)
    if kind == FOXGLOVE:
        message = types[kind](timestamp=stamp, frame_id=frame_id, data=array, format=encoding)
    else:
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
        message = types[kind](header, 128, 96, encoding, number, 0, False, array)  # noqa: FBT003
    return bytes(STORE.serialize_cdr(message, kind, little_endian=little_endian))
