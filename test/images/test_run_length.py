"""Masks of Autoware's tensorrt_yolox, whose data are runs of ids, from bytes to counts."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deeplab_miou import cli
from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_ids
from deeplab_miou.images.messages import RawImage
from deeplab_miou.images.pixels import check_image

SECOND = 1_000_000_000


def encode(mask):
    """Return runs as Autoware's node writes them, pixel by pixel."""
    runs = [[int(mask.flat[0]), 0]]
    for value in mask.flat:
        if runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([int(value), 1])
    return b"".join(struct.pack("<Bi", value, length) for value, length in runs)


def image(mask, data):
    return RawImage(*mask.shape, "mono8", is_bigendian=False, step=mask.shape[1], data=data)


@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 4))
)
def test_runs_are_read_as_the_mask_they_were_made_of(mask):
    message = image(mask, encode(mask))
    check_image(message)
    assert np.array_equal(decode_ids(message), mask)


@given(arrays(np.uint8, (3, 5), elements=st.integers(0, 3)))
def test_pixels_are_not_taken_for_runs(mask):
    assert np.array_equal(decode_ids(image(mask, mask.tobytes())), mask)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Bi", 1, 59),
        struct.pack("<BiBi", 1, 61, 2, -1),
        struct.pack("<BiBi", 1, 0, 2, 60),
        struct.pack("<BiBiBi", 1, 2**31 - 1, 2, 2**31 - 1, 3, 62),
        struct.pack("<Bi", 1, 60)[:4],
    ],
)
def test_runs_that_do_not_make_up_the_image_are_a_truncated_message(data):
    with pytest.raises(FrameError, match="cut short") as caught:
        check_image(image(np.zeros((6, 10)), data))
    assert caught.value.reason is Reason.TRUNCATED_DATA


def test_a_bag_of_such_masks_is_scored_as_predictions(tmp_path):
    generator = np.random.default_rng(3)
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    expected = np.zeros((3, 4), np.int64)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = [
            writer.add_connection(topic, "sensor_msgs/msg/Image", typestore=store)
            for topic in ("/mask", "/labels")
        ]
        for k in range(6):
            # Stripes, as on a road; and one mask whose runs are longer than its pixels.
            mask = np.repeat(generator.integers(0, 4, (4, 3)), 8, 1).astype(np.uint8)
            if k == 5:
                mask = generator.integers(0, 4, (4, 24)).astype(np.uint8)
            truth = generator.integers(0, 3, (4, 24)).astype(np.uint8)
            np.add.at(expected, (truth, np.minimum(mask, 3)), 1)
            stamp = types["builtin_interfaces/msg/Time"](k + 1, 0)
            for connection, data in zip(connections, (encode(mask), truth.tobytes()), strict=True):
                message = types["sensor_msgs/msg/Image"](
                    types["std_msgs/msg/Header"](stamp, "camera"),
                    4,
                    24,
                    "mono8",
                    0,
                    24,
                    np.frombuffer(data, np.uint8),
                )
                serialised = store.serialize_cdr(message, "sensor_msgs/msg/Image")
                writer.write(connection, (k + 1) * SECOND, serialised)
    labels = tmp_path / "labels.yaml"
    labels.write_text("classes: [{name: road}, {name: car}, {name: sky}]\n")
    arguments = ["evaluate", tmp_path / "bag", "--prediction-topic", "/mask"]
    arguments += ["--label-topic", "/labels", "--labels", labels, "--output", tmp_path / "out"]
    assert cli.main([*map(str, arguments), "--quiet"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames"] == 6
    assert report["confusion"] == expected.tolist()
