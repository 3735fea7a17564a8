"""Drives with tags, as rosbags writes them, and what NumPy counts in them."""

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

SECOND = 1_000_000_000
BEGIN = 1_777_636_800  # 2026-05-01T12:00:00Z
FRAMES, CLASSES, IGNORE = 60, 19, 255
HALF = SECOND // 2
TOPICS = ("/prediction", "/labels")
STORE = get_typestore(Stores.ROS2_JAZZY)


def stamp_of(index):
    return BEGIN * SECOND + index * SECOND


def scene(index):
    """Return ground truth and prediction of a frame; every third stretch of ten is bad."""
    rng = np.random.default_rng(index)
    truth = rng.integers(0, 4, (16, 24)).astype(np.uint8)
    truth[:2] = IGNORE
    wrong = rng.random(truth.shape) < (0.6 if index // 10 % 3 == 1 else 0.1)
    return truth, np.where(wrong, rng.integers(0, 20, truth.shape), np.minimum(truth, 18)).astype(
        np.uint8
    )


def count(indices):
    """Return the confusion matrix of frames."""
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    for index in indices:
        truth, prediction = scene(index)
        labelled = truth != IGNORE
        np.add.at(matrix, (truth[labelled], np.minimum(prediction[labelled], CLASSES)), 1)
    return matrix


def miou(matrix):
    right = matrix.diagonal()
    union = matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) - right
    return np.mean(right[union > 0] / union[union > 0])


def write_bag(path, tags, *, clock_ns=0, plugin=StoragePlugin.MCAP, topics=TOPICS, lag_ns=0):
    """Write a bag with rosbags: frames, and tags as (type, recorded time, fields).

    Of a frame come prediction, labels, and the labels as a prediction without mistakes. Labels are
    recorded later by `lag_ns`.
    """
    image = STORE.types["sensor_msgs/msg/Image"]
    header, time = STORE.types["std_msgs/msg/Header"], STORE.types["builtin_interfaces/msg/Time"]
    records = []
    for index in range(FRAMES):
        truth, prediction = scene(index)
        for topic, pixels in zip(topics, (prediction, truth, truth), strict=False):
            seconds, rest = divmod(stamp_of(index), SECOND)
            message = image(
                header=header(stamp=time(sec=seconds, nanosec=rest), frame_id="camera"),
                height=pixels.shape[0],
                width=pixels.shape[1],
                encoding="mono8",
                is_bigendian=0,
                step=pixels.shape[1],
                data=pixels.reshape(-1),
            )
            recorded = stamp_of(index) + clock_ns + (lag_ns if topic == topics[1] else 0)
            records.append((recorded, topic, "sensor_msgs/msg/Image", message))
    records += [(at, "/tag", kind, STORE.types[kind](**fields)) for kind, at, fields in tags]
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for recorded, topic, kind, message in sorted(records, key=lambda each: each[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], recorded, STORE.serialize_cdr(message, kind))
    return path


def string(index, text):
    """Return a String half a second before a frame."""
    return "std_msgs/msg/String", stamp_of(index) - HALF, {"data": text}


def key_value(index, key, value):
    return "diagnostic_msgs/msg/KeyValue", stamp_of(index) - HALF, {"key": key, "value": value}
