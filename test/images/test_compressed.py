"""What a PNG or JPEG may cost is bounded before it is decoded, and its EXIF data are heeded."""

from __future__ import annotations

import struct
import time
import zlib

import cv2
import numpy as np
import pytest
from image_files import make_png, png_chunk

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.images import compressed
from deeplab_miou.images.decoding import decode_color, decode_ids
from deeplab_miou.images.jpeg import MAX_SCANS
from deeplab_miou.images.messages import CompressedImage
from deeplab_miou.images.pixels import check_image

IMAGE = np.random.default_rng(4).integers(0, 256, (16, 24, 3), np.uint8)


def jpeg_segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(image, *options):
    return cv2.imencode(".jpg", image, [int(each) for each in options])[1].tobytes()


def by_opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture
def undecoded(monkeypatch):
    """Fail as soon as a decoder is called."""

    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(compressed.cv2, "imdecode", explode)


def reason_of(message, look=decode_color):
    with pytest.raises(FrameError) as caught:
        look(message)
    return caught.value.reason


@pytest.mark.parametrize(
    "hiding", [b"\xff\x01", b"\xff\xd3", b"\xff\x00", b"\xff\xff\xff", b"rubbish", b"\xff\xff\x01"]
)
@pytest.mark.usefixtures("undecoded")
def test_the_size_that_counts_is_the_one_that_the_decoder_sees(hiding):
    """A reader that expects a length after each marker finds a small frame header instead."""
    whole = jpeg(IMAGE)
    size = whole.index(b"\xff\xc0") + 5
    large = whole[:size] + struct.pack(">HH", 22000, 22000) + whole[size + 4 : -2]
    data = b"\xff\xd8" + hiding + large[2:]
    if not hiding.startswith(b"\xff"):
        data = b"\xff\xd8" + large[2:20] + hiding + large[20:]
    skipped = 2 + len(hiding) + int.from_bytes(large[2:4], "big")
    small = jpeg_segment(0xC0, struct.pack(">BHHB", 8, 64, 64, 1) + b"\1\x11\0")
    data = data[:skipped] + data[skipped:].ljust(1 << 17, b"\0") + small + b"\xff\xd9"
    message = CompressedImage("jpeg", data)
    assert reason_of(message, check_image) in (Reason.BAD_SIZE, Reason.BAD_ENCODING)


def test_markers_without_a_length_are_read_over():
    data = jpeg(IMAGE)
    for hiding in (b"\xff\x01", b"\xff\xd3", b"\xff\xff"):
        image = decode_color(CompressedImage("jpeg", data[:2] + hiding + data[2:]))
        np.testing.assert_array_equal(
            image, cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1]
        )


def test_a_progressive_jpeg_is_read_and_one_of_endless_scans_is_not(monkeypatch):
    data = jpeg(IMAGE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    image = decode_color(CompressedImage("jpeg", data))
    np.testing.assert_array_equal(image, by_opencv(data))
    monkeypatch.setattr(compressed.cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    last = data.rindex(b"\xff\xda")
    endless = data[:-2] + data[last:-2] * MAX_SCANS + b"\xff\xd9"
    assert reason_of(CompressedImage("jpeg", endless)) == Reason.BAD_ENCODING


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xF7])
@pytest.mark.usefixtures("undecoded")
def test_jpegs_of_odd_kinds_are_refused(marker):
    data = jpeg(IMAGE).replace(b"\xff\xc0", bytes([0xFF, marker]))
    assert reason_of(CompressedImage("jpeg", data)) == Reason.BAD_ENCODING


@pytest.mark.parametrize("ending", [".bmp", ".tiff", ".webp", ".ppm", ".hdr", ".gif"])
@pytest.mark.usefixtures("undecoded")
def test_other_formats_are_refused(ending):
    image = IMAGE.astype(np.float32) if ending == ".hdr" else IMAGE
    if not cv2.haveImageWriter(f"image{ending}"):
        pytest.skip(f"this OpenCV cannot write {ending}")
    data = cv2.imencode(ending, image)[1].tobytes()
    assert reason_of(CompressedImage("png", data)) == Reason.BAD_ENCODING


@pytest.mark.parametrize("chunk", ["zTXt", "iTXt", "iCCP", "zzZz"])
def test_remarks_in_a_png_are_not_unpacked(chunk):
    """Forty of them would unpack to 320 MB, which takes the decoder seconds."""
    head = {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0", "zzZz": b""}[chunk]
    bomb = (chunk.encode(), head + zlib.compress(bytes(7_900_000), 9))
    data = make_png(3, 1, 8, 0, [bytes([4, 5, 6])], chunks=[bomb] * 40)
    started_s = time.process_time()
    assert decode_ids(CompressedImage("png", data)).tolist() == [[4, 5, 6]]
    assert time.process_time() - started_s < 0.2


def test_pixels_beyond_a_pngs_size_are_not_unpacked():
    header = struct.pack(">IIBBBBB", 3, 1, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0\4\5\6" + bytes(300_000_000), 9)
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    data = start + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    started_s = time.process_time()
    assert decode_ids(CompressedImage("png", data)).tolist() == [[4, 5, 6]]
    assert time.process_time() - started_s < 0.2


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("cut", [0, 50_000])
def test_large_pngs_are_read_exactly(depth, channels, cut):
    """Above a size their rows are unpacked before the decoder sees them."""
    shape = (200, 310, channels)
    stored = np.random.default_rng(1).integers(0, 1 << depth, shape).astype(f"u{depth // 8}")
    data = cv2.imencode(".png", stored)[1].tobytes()
    message = CompressedImage("png", data[: -12 - cut] + data[-12:])
    if cut:
        assert reason_of(message) == Reason.TRUNCATED_DATA
        return
    image = decode_color(message)
    expected = stored[..., 2::-1] if channels > 1 else np.repeat(stored, 3, 2)
    np.testing.assert_array_equal(image, np.rint(expected / (257 if depth == 16 else 1)))


def test_a_damaged_row_of_a_large_png_is_noticed():
    image = np.random.default_rng(1).integers(0, 256, (300, 300), np.uint8)
    data = bytearray(cv2.imencode(".png", image)[1])
    data[len(data) // 2] ^= 255
    assert reason_of(CompressedImage("png", bytes(data))) == Reason.TRUNCATED_DATA


# What has to be done to the stored pixels, by EXIF 2.3, tag 0x112.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def exif(orientation, order):
    mark = {"<": b"II", ">": b"MM"}[order]
    entry = struct.pack(f"{order}HHIHH", 0x112, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}HIH", 42, 8, 1) + entry + bytes(4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("gray", [False, True])
def test_a_jpeg_is_turned_as_its_exif_data_say(orientation, order, gray):
    stored = jpeg(IMAGE[..., 0] if gray else IMAGE)
    straight = decode_color(CompressedImage("jpeg", stored))
    told = jpeg_segment(0xE1, b"Exif\0\0" + exif(orientation, order))
    image = decode_color(CompressedImage("jpeg", stored[:2] + told + stored[2:]))
    np.testing.assert_array_equal(image, TURNS[orientation](straight))


@pytest.mark.parametrize("orientation", TURNS)
def test_a_png_is_turned_alike(orientation):
    rows = [bytes([1, 2, 3]), bytes([4, 5, 6])]
    told = (b"eXIf", exif(orientation, "<"))
    ids = decode_ids(CompressedImage("png", make_png(3, 2, 8, 0, rows, chunks=[told])))
    expected = TURNS[orientation](np.array([[1, 2, 3], [4, 5, 6]]))
    np.testing.assert_array_equal(ids, expected)
