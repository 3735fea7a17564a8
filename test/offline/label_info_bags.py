"""Bags with messages that name ids, as the ordinary libraries write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

# The definitions of ros-perception/vision_msgs, without their comments.
DEFINITIONS = Path(__file__).parents[1] / "messages" / "vision_msgs"
SECOND = 1_000_000_000


def typestore():
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("VisionClass", "LabelInfo"):
        text = (DEFINITIONS / f"{name}.msg").read_text()
        store.register(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return store


STORE = typestore()


def header(stamp_ns):
    types = STORE.types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, SECOND))
    return types["std_msgs/msg/Header"](stamp, "camera")


def label_info(names, stamp_ns=0, threshold=0.0):
    """Return a message of names, pairs of id and name."""
    types = STORE.types
    classes = [types["vision_msgs/msg/VisionClass"](*each) for each in names]
    return types["vision_msgs/msg/LabelInfo"](header(stamp_ns), classes, threshold)


def semantic_labels(names, stamp_ns=None):
    """Return the String that Isaac Sim publishes."""
    content = {str(each): {"class": name} for each, name in names}
    if stamp_ns is not None:
        sec, nanosec = divmod(stamp_ns, SECOND)
        content["time_stamp"] = {"sec": str(sec), "nanosec": str(nanosec)}
    return STORE.types["std_msgs/msg/String"](json.dumps(content))


def image(ids, stamp_ns, encoding="mono8"):
    """Return an Image of ids, (h, w)."""
    height, width = ids.shape
    return STORE.types["sensor_msgs/msg/Image"](
        header(stamp_ns), height, width, encoding, 0, ids.strides[0], ids.view(np.uint8).ravel()
    )


def write_bag(path, messages, storage=StoragePlugin.MCAP):
    """Write messages (topic, time of recording, message) to a bag."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {}
        for topic, time_ns, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], time_ns, data)
