"""What cameras publish besides plain pixels becomes RGB, by formulas written out here."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images.decoding import decode_color, decode_labels
from deeplab_miou.images.messages import CompressedImage, RawImage
from deeplab_miou.images.pixels import check_image
from deeplab_miou.labels.label_map import LabelMap

ANY_MAP = LabelMap.from_dict({"name": "m", "classes": [{"name": "a"}]}, "m")


def message(height, width, encoding, rows, padding=0, *, big=False):
    """Join rows with rubbish between them."""
    data = b"".join(row + b"\xee" * padding for row in rows)
    return RawImage(height, width, encoding, big, len(rows[0]) + padding, data)


def bt601(y, u, v):
    """ITU-R BT.601, limited range."""
    y, u, v = 1.164 * (y - 16.0), u - 128.0, v - 128.0
    rgb = [y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u]
    return np.clip(np.stack(rgb, -1), 0, 255)


def yuv_scene(height, width):
    """Brightness for each pixel, one colour for each block of 2 x 2."""
    rng = np.random.default_rng(2)
    y = rng.integers(16, 236, (height, width))
    u, v = rng.integers(90, 166, (2, height // 2, width // 2))
    full = [plane.repeat(2, 0).repeat(2, 1) for plane in (u, v)]
    return y, u, v, bt601(y, *full)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_packed_yuv_is_read(encoding, order, padding):
    y, u, v, expected = yuv_scene(6, 10)
    stored = np.empty((6, 10, 2), np.uint8)
    at = order.index("y")
    stored[..., at] = y
    stored[:, 0::2, 1 - at] = u.repeat(2, 0)
    stored[:, 1::2, 1 - at] = v.repeat(2, 0)
    image = decode_color(message(6, 10, encoding, [row.tobytes() for row in stored], padding))
    assert image.shape == (6, 10, 3)
    assert np.abs(image - expected).max() <= 2


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_planes_of_yuv_are_read(encoding, padding):
    y, u, v, expected = yuv_scene(6, 10)
    pair = (u, v) if encoding == "nv12" else (v, u)
    rows = [row.astype(np.uint8).tobytes() for row in y]
    rows += [row.astype(np.uint8).tobytes() for row in np.stack(pair, -1).reshape(3, 10)]
    given = message(6, 10, encoding, rows, padding)
    image = decode_color(given)
    assert image.shape == (6, 10, 3)
    assert np.abs(image - expected).max() <= 2
    short = RawImage(6, 10, encoding, given.is_bigendian, given.step, given.data[: 6 * given.step])
    with pytest.raises(FrameError) as caught:
        check_image(short)
    assert caught.value.reason == Reason.TRUNCATED_DATA


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("compressed", [False, True])
def test_bayer_patterns_keep_their_colours(order, big, bits, compressed):
    """A patch of one colour, of odd size: inside, every pixel has that colour."""
    colors = {"r": 200, "g": 120, "b": 40}
    mosaic = np.array([[colors[order[2 * (y % 2) + x % 2]] for x in range(9)] for y in range(7)])
    stored = (mosaic * (257 if bits == 16 else 1)).astype(f"u{bits // 8}")
    name = f"bayer_{order}{bits}"
    if compressed:
        given = CompressedImage(
            f"{name}; png compressed ", cv2.imencode(".png", stored)[1].tobytes()
        )
    else:
        swapped = stored.astype(stored.dtype.newbyteorder(">" if big else "<"))
        given = message(7, 9, name, [row.tobytes() for row in swapped], 2, big=big)
    image = decode_color(given)
    assert image.dtype == np.uint8
    assert (image[1:-1, 1:-1] == [200, 120, 40]).all()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16", "16UC3", "mono16"])
def test_sixteen_bits_are_scaled_so_that_white_stays_white(encoding, big):
    levels = np.array([[0, 257 * 7, 257 * 100, 65535]])
    order = {"16UC3": "bgr", "mono16": "m"}.get(encoding, encoding[:-2])
    rgb = np.stack([levels, levels[:, ::-1], levels // 2], -1)
    planes = {"r": rgb[..., 0], "g": rgb[..., 1], "b": rgb[..., 2], "a": levels, "m": levels}
    stored = np.stack([planes[each] for each in order], -1).astype(">u2" if big else "<u2")
    image = decode_color(message(1, 4, encoding, [stored.tobytes()], 2, big=big))
    expected = np.stack([levels] * 3, -1) if order == "m" else rgb
    np.testing.assert_array_equal(image, np.rint(expected / 257))


@pytest.mark.parametrize(
    ("encoding", "height", "width", "step"),
    [
        ("yuv422", 4, 5, 10),
        ("yuv422_yuy2", 4, 6, 11),
        ("nv12", 3, 4, 4),
        ("nv21", 4, 3, 3),
        ("bayer_rggb8", 2, 9, 9),
        ("bayer_rggb16", 4, 4, 9),
        ("rgb16", 4, 4, 23),
    ],
)
def test_sizes_that_an_encoding_cannot_have_are_refused(encoding, height, width, step):
    given = RawImage(height, width, encoding, is_bigendian=False, step=step, data=bytes(999))
    for look in (check_image, decode_color):
        with pytest.raises(FrameError) as caught:
            look(given)
        assert caught.value.reason == Reason.BAD_SIZE


@pytest.mark.parametrize("encoding", ["yuv422", "nv12", "bayer_rggb8"])
def test_cameras_encodings_are_no_labels(encoding):
    given = RawImage(4, 4, encoding, is_bigendian=False, step=8, data=bytes(99))
    with pytest.raises(FrameError, match="is for cameras") as caught:
        decode_labels(given, ANY_MAP)
    assert caught.value.reason == Reason.BAD_ENCODING


@pytest.mark.parametrize("name", ["16UC1; compressedDepth png", "32FC1; compressedDepth png"])
def test_depth_is_no_camera_image(name):
    data = bytes(12) + cv2.imencode(".png", np.ones((4, 4), np.uint16))[1].tobytes()
    with pytest.raises(FrameError) as caught:
        decode_color(CompressedImage(name, data))
    assert caught.value.reason == Reason.BAD_ENCODING
    with pytest.raises(FrameError) as caught:
        check_image(RawImage(4, 4, "32FC1", is_bigendian=False, step=16, data=bytes(64)))
    assert caught.value.reason == Reason.BAD_ENCODING
