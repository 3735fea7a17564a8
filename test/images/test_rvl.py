"""RVL against a file of upstream's own encoder, an encoder of the paper, and damage."""

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from depth_drives import rvl
from image_files import mono8

from deeplab_miou.accounting import Reason
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.cli import main
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_ids
from deeplab_miou.images.depth import decode_depth
from deeplab_miou.images.messages import CompressedImage
from deeplab_miou.images.rvl import decode_rvl

HEADER = struct.pack("<iff", 0, 0.0, 0.0)


def picture():
    """Return a depth image with runs of zeros, small and large steps and the largest value."""
    y, x = np.mgrid[0:30, 0:40]
    depth = 700 + 37 * x + x * x * y // 3
    depth[(x * y) % 7 == 0] = 0
    depth[:, 25:] = np.where(y[:, 25:] % 5 < 3, 65_535, 1)
    depth[12:15] = 0
    return depth.astype(np.uint16)


def upstream():
    """Return the picture as `RvlCodec::CompressRVL` of image_transport_plugins encoded it."""
    return (Path(__file__).parent / "data" / "upstream.rvl").read_bytes()


def decode(data):
    return decode_rvl(np.frombuffer(data, np.uint8))


def test_what_upstream_encoded():
    np.testing.assert_array_equal(decode(upstream()), picture())
    assert rvl(picture()) == upstream()
    message = CompressedImage("16UC1; compressedDepth rvl", HEADER + upstream())
    stored = picture()
    metres = np.where(stored > 0, stored / 1000, np.nan).astype(np.float32)
    np.testing.assert_array_equal(decode_depth(message), metres)


@pytest.mark.parametrize("share_of_zeros", [0, 0.5, 0.99, 1])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (17, 1), (13, 23)])
def test_any_image(shape, share_of_zeros):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65_536, shape).astype(np.uint16)
    values[rng.random(shape) < share_of_zeros] = 0
    np.testing.assert_array_equal(decode(rvl(values)), values)


def test_rows_of_a_camera_whose_buffers_are_larger_than_its_images():
    np.testing.assert_array_equal(decode(upstream() + b"\xff" * 7), picture())


def test_every_image_that_was_cut_short_is_told():
    whole = upstream()
    for size in range(len(whole)):
        with pytest.raises(FrameError) as told:
            decode(whole[:size])
        assert told.value.reason is Reason.TRUNCATED_DATA


def test_damage_is_told_or_is_an_image_of_the_same_size():
    rng = np.random.default_rng(0)
    told = []
    for _ in range(300):
        data = np.frombuffer(upstream(), np.uint8).copy()
        data[rng.integers(8, data.size, 3)] = rng.integers(0, 256, 3)
        try:
            assert decode_rvl(data).shape == (30, 40)
        except FrameError as error:
            told.append(error.reason)
    assert len(told) > 200
    assert set(told) == {Reason.TRUNCATED_DATA}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.TRUNCATED_DATA),
        (struct.pack("<II", 4, 4), Reason.TRUNCATED_DATA),
        (struct.pack("<II", 0, 4), Reason.BAD_SIZE),
        (struct.pack("<II", 2**31, 2**31), Reason.BAD_SIZE),
        # Runs of nothing, numbers without an end, and more pixels than there are.
        (struct.pack("<II", 8192, 8192) + bytes(4_000_000), Reason.TRUNCATED_DATA),
        (struct.pack("<II", 8192, 8192) + b"\xff" * 4_000_000, Reason.TRUNCATED_DATA),
        (struct.pack("<III", 4, 4, 0xF7000000), Reason.TRUNCATED_DATA),
        (struct.pack("<III", 4, 4, 0x0F700000), Reason.TRUNCATED_DATA),
    ],
)
def test_hostile_data_take_no_time(data, reason):
    decode(upstream())
    started_s = time.process_time()
    with pytest.raises(FrameError) as told:
        decode(data)
    assert told.value.reason is reason
    assert time.process_time() - started_s < 1


def test_labels_may_be_compressed_so(tmp_path):
    """The whole way of a user: ids of 16 bits on image_transport's compressedDepth with rvl."""
    random = np.random.default_rng(0)
    truth = np.kron(random.integers(0, 5, (12, 6, 8)), np.ones((4, 4), int)).astype(np.uint8)
    guess = np.where(random.random(truth.shape) < 0.2, 0, truth).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        for k in range(12):
            stamp_ns = (1 + k) * 10**9
            data = HEADER + rvl(truth[k].astype(np.uint16))
            label = CompressedImage("16UC1; compressedDepth rvl", data)
            writer.write_image("/prediction", stamp_ns, "camera", mono8(guess[k]))
            writer.write_image("/labels", stamp_ns, "camera", label)
    command = ["evaluate", str(tmp_path / "bag"), "--prediction-topic", "/prediction"]
    command += ["--label-topic", "/labels", "--labels", "cityscapes_train_ids"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    expected = np.zeros((19, 20), np.int64)
    np.add.at(expected, (truth, guess), 1)
    assert report["confusion"] == expected.tolist()


def test_labels_that_were_cut_short_are_told():
    whole = HEADER + upstream()
    for size in (4, 12, 19, 20, 25, len(whole) - 1):
        with pytest.raises(FrameError) as told:
            decode_ids(CompressedImage("16UC1; compressedDepth rvl", whole[:size]))
        assert told.value.reason is Reason.TRUNCATED_DATA


def test_floats_that_nobody_measured():
    message = CompressedImage("32FC1; compressedDepth rvl", HEADER + rvl(np.zeros((3, 5), "u2")))
    assert np.isnan(decode_depth(message)).all()
