"""Image messages are read exactly, without a copy, and never trusted."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from image_files import make_png

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images import compressed
from deeplab_miou.images.camera_encodings import CAMERA_ENCODINGS
from deeplab_miou.images.compressed import MAX_PIXELS, MAX_SIDE
from deeplab_miou.images.decoding import decode_color, decode_ids, decode_labels
from deeplab_miou.images.messages import CompressedImage, RawImage
from deeplab_miou.images.pixels import check_image
from deeplab_miou.images.raw_pixels import LAYOUTS, byte_count
from deeplab_miou.labels.label_map import LabelMap, load_label_map

HEIGHT, WIDTH = 3, 5
COLOR_ORDERS = {
    "rgb8": "rgb",
    "bgr8": "bgr",
    "rgba8": "rgba",
    "bgra8": "bgra",
    "8UC3": "bgr",
    "8UC4": "bgra",
}
ID_FORMATS = {
    "mono8": "B",
    "8UC1": "B",
    "8SC1": "b",
    "mono16": "H",
    "16UC1": "H",
    "16SC1": "h",
    "32SC1": "i",
}
ID_TYPES = {"B": np.uint8, "b": np.int32, "H": np.uint16, "h": np.int32, "i": np.int32}
BUFFERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "array": lambda data: array("B", data),
    "memoryview": memoryview,
    "ndarray": lambda data: np.frombuffer(data, np.uint8),
}
IDENTITY = LabelMap.from_dict(
    {
        "name": "test",
        "classes": [{"name": f"class {i}", "color": [i, 2 * i, 100 + i]} for i in range(30)],
    },
    "test",
)


def pack_rows(rows, padding, *, last_row_padded):
    """Join rows of bytes with rubbish between them, as a driver with aligned rows does."""
    rubbish = b"\xee" * padding
    data = b"".join(row + rubbish for row in rows)
    return data if last_row_padded or not padding else data[: -len(rubbish)]


def raw(height, width, encoding, step, data):
    return RawImage(height, width, encoding, is_bigendian=False, step=step, data=data)


def color_message(encoding, padding=0, buffer=bytes, *, last_row_padded=True):
    """Build a colour image value by value, and what it must be read as."""
    expected = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rows = []
    for y in range(HEIGHT):
        row = []
        for x in range(WIDTH):
            pixel = {"r": 10 * y + x, "g": 100 + 10 * y + x, "b": 200 + 10 * y + x, "a": 7 * x}
            expected[y, x] = pixel["r"], pixel["g"], pixel["b"]
            row += [pixel[channel] for channel in COLOR_ORDERS[encoding]]
        rows.append(bytes(row))
    step = len(rows[0]) + padding
    data = buffer(pack_rows(rows, padding, last_row_padded=last_row_padded))
    return raw(HEIGHT, WIDTH, encoding, step, data), expected


def ids_message(encoding, padding=0, buffer=bytes, *, big_endian=False):
    """Build an image of ids with `struct`, and what it must be read as."""
    kind = ID_FORMATS[encoding]
    unit = {"B": 1, "b": -3, "H": 250, "h": -2000, "i": -70000}[kind]
    values = [[(y * WIDTH + x) * unit for x in range(WIDTH)] for y in range(HEIGHT)]
    order = ">" if big_endian else "<"
    rows = [struct.pack(f"{order}{WIDTH}{kind}", *row) for row in values]
    data = buffer(pack_rows(rows, padding, last_row_padded=True))
    message = RawImage(HEIGHT, WIDTH, encoding, big_endian, len(rows[0]) + padding, data)
    return message, np.array(values)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("encoding", COLOR_ORDERS)
def test_color_is_read_in_place_whatever_its_order_padding_and_buffer(encoding, buffer, padding):
    message, expected = color_message(encoding, padding, BUFFERS[buffer])
    image = decode_color(message)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
    assert np.shares_memory(image, np.frombuffer(message.data, np.uint8))
    assert not image.flags.writeable
    assert byte_count(message.data) == HEIGHT * message.step


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ID_FORMATS)
def test_ids_are_read_exactly_in_either_byte_order(encoding, big_endian, buffer, padding):
    message, expected = ids_message(encoding, padding, BUFFERS[buffer], big_endian=big_endian)
    ids = decode_ids(message)
    assert ids.dtype == ID_TYPES[ID_FORMATS[encoding]]
    assert ids.dtype.isnative
    np.testing.assert_array_equal(ids, expected)
    if not big_endian and ID_FORMATS[encoding] not in "bh":
        assert np.shares_memory(ids, np.frombuffer(message.data, np.uint8))
    labels = decode_labels(message, IDENTITY)
    known = (expected >= 0) & (expected < 30)
    np.testing.assert_array_equal(labels.ids, np.where(known, expected, 255))
    assert labels.unmapped == np.count_nonzero(~known)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray_cameras_have_three_equal_channels_without_a_copy(encoding):
    message, expected = ids_message(encoding, padding=4)
    image = decode_color(message)
    np.testing.assert_array_equal(image, np.stack([expected] * 3, axis=-1))
    assert np.shares_memory(image, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", COLOR_ORDERS)
def test_labels_of_colours_go_through_the_palette(encoding, padding):
    ids = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    rgba = np.dstack([IDENTITY.colorize(ids), np.full_like(ids, 90)])
    order = ["rgba".index(channel) for channel in COLOR_ORDERS[encoding]]
    rows = [row[:, order].tobytes() for row in rgba]
    data = pack_rows(rows, padding, last_row_padded=False)
    message = raw(HEIGHT, WIDTH, encoding, len(rows[0]) + padding, data)
    labels = decode_labels(message, IDENTITY)
    np.testing.assert_array_equal(labels.ids, ids)
    assert labels.unmapped == 0


def test_the_last_row_need_not_be_padded():
    message, expected = color_message("bgr8", padding=9, last_row_padded=False)
    np.testing.assert_array_equal(decode_color(message), expected)


def reason_of(message, decode=decode_color):
    with pytest.raises(FrameError) as caught:
        decode(message)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    ("height", "width", "step", "size", "reason"),
    [
        (0, 4, 12, 12, Reason.BAD_SIZE),
        (4, 0, 12, 48, Reason.BAD_SIZE),
        (0, 0, 0, 0, Reason.BAD_SIZE),
        (MAX_SIDE + 1, 1, 3, 12, Reason.BAD_SIZE),
        (1, MAX_SIDE + 1, 3 * MAX_SIDE + 3, 12, Reason.BAD_SIZE),
        (MAX_SIDE, MAX_SIDE, 3 * MAX_SIDE, 12, Reason.BAD_SIZE),
        (2**32 - 1, 2**32 - 1, 2**32 - 1, 12, Reason.BAD_SIZE),
        (4, 4, 11, 48, Reason.BAD_SIZE),
        (4, 4, 0, 48, Reason.BAD_SIZE),
        (4, 4, 12, 47, Reason.TRUNCATED_DATA),
        (4, 4, 12, 0, Reason.TRUNCATED_DATA),
        (4, 4, 2**32 - 1, 48, Reason.TRUNCATED_DATA),
    ],
)
def test_impossible_sizes_are_refused(height, width, step, size, reason):
    assert reason_of(raw(height, width, "rgb8", step, bytes(size))) == reason


@pytest.mark.parametrize(("encoding", "step"), [("mono16", 9), ("32SC1", 18)])
def test_a_step_that_splits_a_pixel_is_refused(encoding, step):
    message = raw(2, 4, encoding, step, bytes(100))
    assert reason_of(message, decode_ids) == Reason.BAD_SIZE


@pytest.mark.parametrize("encoding", ["16UC1", "16SC1", "8SC1", "32SC1"])
def test_depth_and_ids_are_no_camera_image(encoding):
    with pytest.raises(FrameError, match=r"for depth or ids.*rgb8") as caught:
        decode_color(ids_message(encoding)[0])
    assert caught.value.reason == Reason.BAD_ENCODING


def test_ids_must_have_one_channel():
    assert reason_of(color_message("rgb8")[0], decode_ids) == Reason.BAD_ENCODING


def test_colours_without_a_palette_are_refused():
    no_colors = LabelMap.from_dict({"name": "m", "classes": [{"name": "a"}]}, "m")
    message, _ = color_message("rgb8")
    assert reason_of(message, lambda m: decode_labels(m, no_colors)) == Reason.BAD_ENCODING


def test_an_unknown_encoding_says_what_is_supported():
    message = raw(2, 2, "nv24\n" + 200 * "x", 4, bytes(8))
    with pytest.raises(FrameError, match=r"'nv24.nx+\.\.\.', expected one of: rgb8.*bayer_rggb8"):
        decode_color(message)


@pytest.mark.parametrize("name", ["png", "8UC1; png compressed ", "mono8; png compressed mono8"])
def test_png_labels_are_ids(name):
    png = make_png(3, 2, 8, 0, [bytes([0, 7, 29]), bytes([1, 200, 255])])
    message = CompressedImage(name, png)
    assert decode_ids(message).tolist() == [[0, 7, 29], [1, 200, 255]]
    labels = decode_labels(message, IDENTITY)
    assert labels.ids.tolist() == [[0, 7, 29], [1, 255, 255]]
    assert labels.unmapped == 1  # 200; 255 is the ignore index
    assert byte_count(message.data) == len(png)


def test_png_labels_of_16_bits_are_not_scaled():
    values = [0, 1, 255, 256, 26001, 65535]
    png = make_png(6, 1, 16, 0, [struct.pack(">6H", *values)])
    ids = decode_ids(CompressedImage("16UC1; png compressed ", png))
    assert ids.dtype == np.uint16
    assert ids.tolist() == [values]


@pytest.mark.parametrize(("depth", "values"), [(1, [0, 1]), (2, [0, 1, 2, 3]), (4, [0, 9, 15])])
def test_png_labels_of_few_bits_are_ids_not_shades(depth, values):
    bits = "".join(f"{value:0{depth}b}" for value in values).ljust(8 * 2, "0")
    row = int(bits, 2).to_bytes(2, "big")[: (len(values) * depth + 7) // 8]
    message = CompressedImage("png", make_png(len(values), 1, depth, 0, [row]))
    assert decode_ids(message).tolist() == [values]


def test_png_labels_with_alpha_are_ids():
    message = CompressedImage("png", make_png(2, 1, 8, 4, [bytes([5, 0, 6, 255])]))
    assert decode_ids(message).tolist() == [[5, 6]]


def test_png_labels_of_colours_go_through_the_palette():
    row = IDENTITY.palette[[3, 28]].tobytes() + bytes([1, 1, 1])
    labels = decode_labels(CompressedImage("png", make_png(3, 1, 8, 2, [row])), IDENTITY)
    assert labels.ids.tolist() == [[3, 28, 255]]
    assert labels.unmapped == 1


@pytest.mark.parametrize(
    ("name", "swapped"),
    [
        ("jpeg", False),
        ("rgb8; jpeg compressed bgr8", False),
        ("bgr8; png compressed bgr8", False),
        ("rgb8; png compressed rgb8", True),
    ],
)
def test_compressed_colours_come_in_the_order_of_image_transport(name, swapped):
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[..., 0] = 250
    ext = ".jpg" if "jpeg" in name else ".png"
    data = cv2.imencode(ext, rgb if swapped else rgb[..., ::-1])[1]
    image = decode_color(CompressedImage(name, data))
    assert np.abs(image.astype(int) - rgb).max() <= 3


def test_gray_jpeg_is_a_camera_image():
    data = cv2.imencode(".jpg", np.full((8, 9), 77, np.uint8))[1].tobytes()
    message = CompressedImage("jpeg", data + bytes(100))
    image = decode_color(message)
    assert image.shape == (8, 9, 3)
    assert np.abs(image.astype(int) - 77).max() <= 1


def test_jpeg_labels_are_refused():
    data = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1]
    message = CompressedImage("jpeg", data)
    assert reason_of(message, decode_ids) == Reason.BAD_ENCODING
    assert reason_of(message, lambda m: decode_labels(m, IDENTITY)) == Reason.BAD_ENCODING


@pytest.mark.parametrize("ext", [".png", ".jpg"])
def test_a_truncated_file_is_not_filled_up_with_gray(ext):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    data = cv2.imencode(ext, image)[1].tobytes()
    for cut in (len(data) // 2, len(data) - 20):
        message = CompressedImage("file", data[:cut])
        assert reason_of(message) == Reason.TRUNCATED_DATA


def test_a_damaged_png_is_refused():
    data = bytearray(cv2.imencode(".png", np.arange(4096, dtype=np.uint8).reshape(64, 64))[1])
    data[len(data) // 2] ^= 255
    assert reason_of(CompressedImage("png", data)) == Reason.TRUNCATED_DATA


@pytest.mark.parametrize("length", [2**31 - 1, 2**32 - 1, 1000])
def test_a_png_chunk_may_not_claim_more_than_there_is(length, monkeypatch):
    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(compressed.cv2, "imdecode", explode)
    png = bytearray(make_png(3, 1, 8, 0, [bytes(3)], chunks=[(b"tEXt", b"a\0b")]))
    start = png.index(b"tEXt") - 4
    png[start : start + 4] = struct.pack(">I", length)
    assert reason_of(CompressedImage("png", png)) == Reason.TRUNCATED_DATA


@pytest.mark.parametrize("side", [0, MAX_SIDE, 2**31])
def test_a_decompression_bomb_is_refused_by_its_header(side, monkeypatch):
    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(compressed.cv2, "imdecode", explode)
    message = CompressedImage("png", make_png(side, side, 8, 0, [b"\0"]))
    assert reason_of(message) == Reason.BAD_SIZE
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", min(side, 65535), min(side, 65535))
    assert reason_of(CompressedImage("jpeg", jpeg)) == Reason.BAD_SIZE
    assert MAX_SIDE**2 > MAX_PIXELS


@pytest.mark.parametrize("ext", [".png", ".jpg"])
def test_a_plain_picture_is_no_bomb_but_an_impossibly_small_file_is(ext, monkeypatch):
    data = bytearray(cv2.imencode(ext, np.zeros((4096, 4096), np.uint8))[1])
    assert decode_color(CompressedImage("plain", data)).shape == (4096, 4096, 3)

    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(compressed.cv2, "imdecode", explode)
    if ext == ".png":
        data = make_png(8000, 8000, 8, 0, [bytes(999)])
    else:
        data = bytearray(cv2.imencode(ext, np.zeros((8, 8), np.uint8))[1])
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 8000, 8000)
    assert reason_of(CompressedImage("bomb", data)) == Reason.TRUNCATED_DATA


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("png", b""),
        ("h264", b"\0\0\0\1" + bytes(100)),
        ("16UC1; compressedDepth png", bytes(12) + make_png(1, 1, 8, 0, [b"\0"])),
        ("jpeg", b"\xff\xd8\xff"),
        ("jpeg", b"\xff\xd8" + b"\xff\xe0\0\0" * 5000),
        ("png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_other_compressed_data_is_refused(name, data):
    message = CompressedImage(name, data)
    assert reason_of(message) == Reason.BAD_ENCODING
    assert byte_count(message.data) == len(data)


def shape_or_refusal(message, decode):
    try:
        check_image(message)
    except FrameError as error:
        assert reason_of(message, decode) == error.reason  # noqa: PT017 - checks may not differ
    try:
        result = decode(message)
    except FrameError:
        return None
    return getattr(result, "ids", result).shape[:2]


SIZES = st.integers(0, 40) | st.integers(-5, 2**33)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.builds(
        RawImage,
        height=SIZES,
        width=SIZES,
        encoding=st.sampled_from([*LAYOUTS, *CAMERA_ENCODINGS]) | st.text(max_size=20),
        is_bigendian=st.booleans(),
        step=SIZES,
        data=st.binary(max_size=400),
    )
)
def test_any_raw_image_is_read_or_refused(message):
    for decode in (decode_color, decode_ids, lambda m: decode_labels(m, IDENTITY)):
        shape = shape_or_refusal(message, decode)
        assert shape in {None, (message.height, message.width)}
    assert byte_count(message.data) == len(message.data)


FILES = [
    make_png(3, 2, 8, 0, [bytes([0, 7, 29]), bytes([1, 200, 255])]),
    make_png(3, 1, 8, 3, [bytes([0, 1, 2])], chunks=[(b"PLTE", bytes(range(9)))]),
    make_png(2, 1, 4, 0, [b"\x12"]),
    cv2.imencode(".jpg", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))[1].tobytes(),
]


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    file=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=4)), max_size=4),
    cut=st.integers(0, 700),
    name=st.sampled_from(["png", "jpeg", "rgb8; jpeg compressed bgr8", "; ;", "bayer_;"]),
)
@example(file=b"", changes=[], cut=0, name="")
def test_any_compressed_image_is_read_or_refused(file, changes, cut, name):
    data = bytearray(file)
    for position, patch in changes:
        data[position : position + len(patch)] = patch
    message = CompressedImage(name, bytes(data[:cut]))
    for decode in (decode_color, decode_ids, lambda m: decode_labels(m, IDENTITY)):
        shape_or_refusal(message, decode)


def test_real_labelled_frames_have_no_unknown_pixels():
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "camvid"
    files = sorted((folder / "labels").glob("*.png"))
    if not files:
        pytest.skip(f"no labelled frames in {folder}")
    label_map = load_label_map("camvid11")
    seen = np.zeros(256, bool)
    for file in files:
        labels = decode_labels(CompressedImage("png", file.read_bytes()), label_map)
        assert labels.unmapped == 0, file.name
        expected = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(labels.ids, np.where(expected == 11, 255, expected))
        seen[np.unique(labels.ids)] = True
        image = decode_color(CompressedImage("png", (folder / "images" / file.name).read_bytes()))
        assert image.shape[:2] == labels.ids.shape
    assert np.flatnonzero(seen).tolist() == [*range(11), 255]
