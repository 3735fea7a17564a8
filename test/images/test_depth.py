"""Depth images: units, what was not measured, and the transports that people use."""

import struct

import cv2
import numpy as np
import pytest
from image_files import raw_image

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.depth import decode_depth
from deeplab_miou.images.messages import CompressedImage, RawImage

MILLIMETRES = np.array([[0, 1, 999, 1000], [10_000, 65_535, 30_500, 0]], np.uint16)
METRES = np.where(MILLIMETRES > 0, MILLIMETRES / 1000, np.nan).astype(np.float32)


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_sixteen_bits_are_millimetres(encoding):
    np.testing.assert_array_equal(decode_depth(raw_image(MILLIMETRES, encoding)), METRES)


def test_floats_are_metres_and_odd_ones_no_measurement():
    # REP 117 has NaN and both infinities, Gazebo and Stonefish 0, some drivers negative values.
    stored = np.array([[np.nan, np.inf, -np.inf, 0.0], [-0.0, -1.0, 1e-3, 1000.0]], np.float32)
    found = decode_depth(raw_image(stored, "32FC1"))
    np.testing.assert_array_equal(found[:, :2], np.full((2, 2), np.nan))
    np.testing.assert_array_equal(found[0], np.full(4, np.nan))
    np.testing.assert_array_equal(found[1, 2:], np.float32([1e-3, 1000.0]))


@pytest.mark.parametrize(("encoding", "kind"), [("32FC1", ">f4"), ("16UC1", ">u2")])
def test_byte_order_and_padding_of_rows(encoding, kind):
    values = METRES if encoding == "32FC1" else MILLIMETRES
    rows = [row.astype(kind).tobytes() + b"pad." for row in values]
    step = len(rows[0])
    message = RawImage(2, 4, encoding, is_bigendian=True, step=step, data=b"".join(rows))
    np.testing.assert_array_equal(decode_depth(message), METRES)


@pytest.mark.parametrize(
    "form",
    ["16UC1; compressedDepth png", "16UC1; compressedDepth", "16UC1; png compressed ", "png"],
)
def test_compressed_millimetres(form):
    # The first field of the header says "inverse" of raw values too (image_transport_plugins #44).
    start = struct.pack("<iff", 0, 0.0, 0.0) if "compressedDepth" in form else b""
    message = CompressedImage(form, start + png(MILLIMETRES))
    np.testing.assert_array_equal(decode_depth(message), METRES)


def test_compressed_floats_are_inverse_depths():
    stored = np.array([[0, 1, 101, 65_535]], np.uint16)
    a, b = 10_100.0, -1_009.0
    message = CompressedImage(
        "32FC1; compressedDepth png", struct.pack("<iff", 0, a, b) + png(stored)
    )
    expected = [np.nan, a / (1 - b), a / (101 - b), a / (65_535 - b)]
    np.testing.assert_allclose(decode_depth(message)[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        (raw_image(np.zeros((2, 2), np.uint8), "8UC1"), Reason.BAD_ENCODING, "8UC1"),
        (raw_image(np.zeros((2, 2, 3), np.uint8), "rgb8"), Reason.BAD_ENCODING, "rgb8"),
        (RawImage(2, 2, "32FC1", False, 8, b"\0" * 8), Reason.TRUNCATED_DATA, "8 bytes"),  # noqa: FBT003
        (RawImage(2, 2, "32FC1", False, 4, b"\0" * 16), Reason.BAD_SIZE, "step"),  # noqa: FBT003
        (RawImage(0, 0, "16UC1", False, 0, b""), Reason.BAD_SIZE, "0x0"),  # noqa: FBT003
        (CompressedImage("16UC1; compressedDepth rvl", b"\0" * 40), Reason.BAD_SIZE, "0x0"),
        (CompressedImage("16UC1; compressedDepth rvl", b"\0" * 12), Reason.TRUNCATED_DATA, "rvl"),
        (CompressedImage("16UC1; compressedDepth rvl", b"\0" * 9), Reason.TRUNCATED_DATA, "header"),
        (CompressedImage("16UC1; rvl", b"\0" * 40), Reason.BAD_ENCODING, "PNG"),
        (CompressedImage("rgb8; compressedDepth rvl", b"\0" * 40), Reason.BAD_ENCODING, "rgb8"),
        (CompressedImage("16UC1; compressedDepth png", b"\0" * 5), Reason.TRUNCATED_DATA, "header"),
        (CompressedImage("16UC1; compressedDepth png", b"\0" * 40), Reason.BAD_ENCODING, "png"),
        (CompressedImage("jpeg", b"\xff\xd8\xff"), Reason.BAD_ENCODING, "jpeg"),
        (CompressedImage("16UC1; png compressed ", png(np.zeros((2, 2), np.uint8))),
         Reason.BAD_ENCODING, "8 bits"),
        (CompressedImage("32FC1; png compressed ", png(MILLIMETRES)),
         Reason.BAD_ENCODING, "compressedDepth"),
        (CompressedImage("16UC1; png compressed ", png(MILLIMETRES)[:-20]),
         Reason.TRUNCATED_DATA, "damaged"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(message, reason, text):
    with pytest.raises(FrameError, match=text) as told:
        decode_depth(message)
    assert told.value.reason is reason
