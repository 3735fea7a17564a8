"""Drives with depth images as cameras and simulators record them, and what is in each band."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

PREDICTION, LABEL, DEPTH = "/prediction", "/camera/labels", "/camera/depth"
CLASSES, IGNORE = 19, 255
FRAMES, SHAPE = 24, (24, 32)
START_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
REGIONS = """
regions:
  - {name: near, depth: [0, 10]}
  - {name: middle, depth: [10, 30.5]}
  - {name: upper half, rows: [0.0, 0.5]}
  - {name: far, depth: [60, .inf]}
"""
BANDS = {"near": (0, 10), "middle": (10, 30.5), "far": (60, np.inf)}
# Odd frames have none.
COARSE, OTHER_VIEW, BAD_ENCODING = 6, 8, 10


def scene(number):
    """Return ground truth and prediction."""
    rng = np.random.default_rng(number)
    truth = np.repeat(np.repeat(rng.integers(0, 4, (6, 8)), 4, 0), 4, 1)
    truth[20:, :6] = IGNORE
    guess = np.where(rng.random(SHAPE) < 0.3, rng.integers(0, CLASSES + 1, SHAPE), truth)
    return truth.astype(np.uint8), np.where(guess == IGNORE, 0, guess).astype(np.uint8)


def metres(number):
    """Return what a depth camera measured, float32 metres; some values mean nothing."""
    rng = np.random.default_rng(1000 + number)
    depth = np.geomspace(1.2, 64.9, SHAPE[0])[::-1, None] + rng.random(SHAPE)
    depth[rng.random(SHAPE) < 0.1] = 0
    return depth.astype(np.float32)


def messages(number, encoding):
    """Return a depth image as an image message's fields or as (format, data), and its metres."""
    depth = metres(number)
    if number == COARSE:
        depth = depth[::2, ::2]
    if number == OTHER_VIEW:
        depth = depth[:, :24]
    if number == BAD_ENCODING:
        return ("8UC1", 1, np.zeros(SHAPE, np.uint8)), None
    rng = np.random.default_rng(2000 + number)
    odd = rng.random(depth.shape)
    if encoding == "32FC1":
        for value, share in ((np.nan, 0.1), (np.inf, 0.05), (-np.inf, 0.02), (-1.0, 0.01)):
            depth[odd < share] = value
        return ("32FC1", 4, depth), np.where(np.isfinite(depth) & (depth > 0), depth, np.nan)
    packed = rvl if encoding.endswith("rvl") else png
    if encoding.startswith("32FC1; "):
        return compressed_floats(encoding, depth, packed)
    stored = np.rint(1000 * depth.astype(np.float64)).astype(np.uint16)
    found = np.where(stored > 0, stored / 1000, np.nan)
    if encoding in {"16UC1", "mono16"}:
        return (encoding, 2, stored), found
    header = struct.pack("<iff", 0, 0.0, 0.0) if "compressedDepth" in encoding else b""
    return (encoding, header + packed(stored)), found


def png(values):
    """Encode 16 bits without losses."""
    return cv2.imencode(".png", values)[1].tobytes()


def rvl(values):
    """Encode as Wilson's paper (ISS 2017) describes it, number by number."""
    pixels = [int(value) for value in values.ravel()]
    numbers, at, previous = [], 0, 0
    while at < len(pixels):
        zeros = next((k for k, each in enumerate(pixels[at:]) if each), len(pixels) - at)
        run = pixels[at + zeros :]
        run = run[: run.index(0)] if 0 in run else run
        numbers += [zeros, len(run)]
        for value in run:
            difference, previous = value - previous, value
            numbers.append(2 * difference if difference >= 0 else -2 * difference - 1)
        at += zeros + len(run)
    nibbles = []
    for number in numbers:
        digits = [int(digit) for digit in reversed(f"{number:o}")]
        nibbles += [digit + 8 for digit in digits[:-1]] + digits[-1:]
    nibbles += [0] * (-len(nibbles) % 8)
    hexadecimal = "".join(f"{nibble:x}" for nibble in nibbles)
    words = [int(hexadecimal[k : k + 8], 16) for k in range(0, len(hexadecimal), 8)]
    height, width = values.shape
    return struct.pack(f"<{2 + len(words)}I", width, height, *words)


def compressed_floats(encoding, depth, packed, *, quantization=100.0, most=200.0):
    """Encode as compressed_depth_image_transport does, pixel by pixel."""
    a = np.float32(quantization * (quantization + 1))
    b = np.float32(1 - a / np.float32(most))
    with np.errstate(divide="ignore"):
        inverse = np.where((depth < most) & (depth > 0), a / depth + b, 0).astype(np.uint16)
    found = np.where(inverse > 0, a / (inverse.astype(np.float64) - b), np.nan)
    return (encoding, struct.pack("<iff", 0, a, b) + packed(inverse)), found


def usable(number, encoding):
    """Return the metres of each pixel of a frame's ground truth; None if there are none."""
    if number % 2 or number in {OTHER_VIEW, BAD_ENCODING}:
        return None
    found = messages(number, encoding)[1]
    return np.repeat(np.repeat(found, 2, 0), 2, 1) if number == COARSE else found


def count(truth, prediction):
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    labelled = truth != IGNORE
    np.add.at(matrix, (truth[labelled], np.minimum(prediction[labelled], CLASSES)), 1)
    return matrix


def expected(encoding, step=1):
    """Return the matrix of the whole frames, that of each band, and what no band contains.

    Args:
        encoding: of the depth images.
        step: by how much predictions are coarser, whose size is scored then.
    """
    # Of two pixels the nearest to the middle of both is, as OpenCV has it, the second.
    coarse = np.s_[step - 1 :: step, step - 1 :: step]
    whole = np.zeros((CLASSES, CLASSES + 1), np.int64)
    bands = {name: whole.copy() for name in BANDS}
    rest = dict.fromkeys(
        (
            *("frames_without_depth", "frames_with_unusable_depth", "pixels_without_depth"),
            *("pixels_missing_depth", "pixels_outside_depth"),
        ),
        0,
    )
    for number in range(FRAMES):
        truth, prediction = scene(number)
        truth, prediction = truth[coarse], prediction[::step, ::step]
        whole += count(truth, prediction)
        depth = usable(number, encoding)
        labelled = truth != IGNORE
        if depth is None:
            name = "frames_without_depth" if number % 2 else "frames_with_unusable_depth"
            rest[name] += 1
            rest["pixels_without_depth"] += int(labelled.sum())
            continue
        depth = depth[coarse]
        inside = np.zeros(truth.shape, bool)
        for name, (near, far) in BANDS.items():
            where = (depth >= near) & (depth < far)
            inside |= where
            bands[name] += count(np.where(where, truth, IGNORE), prediction)
        missing = np.isnan(depth)
        rest["pixels_missing_depth"] += int((labelled & missing).sum())
        rest["pixels_outside_depth"] += int((labelled & ~missing & ~inside).sum())
    return whole, bands, rest


def write(path, encoding="32FC1", *, lag_ns=60_000_000, offset_ns=0, depth=True, step=1):
    """Write a bag with rosbags: depth images are recorded some time after label and image.

    Args:
        path: of the bag.
        encoding: of the depth images.
        lag_ns: by how much they are recorded later.
        offset_ns: by how much they are stamped later.
        depth: whether there are any.
        step: by how much predictions are coarser.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    raw, packed = types["sensor_msgs/msg/Image"], types["sensor_msgs/msg/CompressedImage"]
    depth_kind = packed if ";" in encoding else raw
    found = []
    for number in range(FRAMES):
        stamp_ns = START_NS + number * STEP_NS
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
        header = types["std_msgs/msg/Header"](stamp, "camera")
        truth, prediction = scene(number)
        for topic, ids in ((PREDICTION, prediction[::step, ::step]), (LABEL, truth)):
            message = raw(header, *ids.shape, "mono8", 0, ids.shape[1], ids.ravel())
            found.append((stamp_ns, topic, message))
        if number % 2 or not depth:
            continue
        late = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns + offset_ns, 10**9))
        header = types["std_msgs/msg/Header"](late, "camera")
        fields, _ = messages(number, encoding)
        if len(fields) == 3:
            name, size, pixels = fields
            height, width = pixels.shape
            data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
            message = raw(header, height, width, name, 0, size * width, data)
            if depth_kind is packed:
                message = packed(header, "16UC1; jpeg compressed ", data)
        else:
            message = packed(header, fields[0], np.frombuffer(fields[1], np.uint8))
        found.append((stamp_ns + lag_ns, DEPTH, message))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {PREDICTION: raw, LABEL: raw, DEPTH: depth_kind}
        topics = {
            topic: writer.add_connection(topic, kind.__msgtype__, typestore=store)
            for topic, kind in kinds.items()
        }
        for recorded_ns, topic, message in sorted(found, key=lambda each: each[0]):
            data = store.serialize_cdr(message, message.__msgtype__)
            writer.write(topics[topic], recorded_ns, data)
    return path
