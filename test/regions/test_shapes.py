"""Masks, rows and polygons."""

import itertools
import struct

import cv2
import numpy as np
import pytest
from image_files import make_png

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.regions.shapes import Mask, Polygon, Rows, read_mask


def test_rows():
    assert Rows(2, 5, fractions=False).inside(8, 1).ravel().tolist() == [0, 0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("height", [1, 2, 3, 7, 480, 481])
def test_bands_that_meet_are_the_whole_image(height):
    edges = [0, 0.3, 0.5, 0.51, 0.9, 1]
    bands = [Rows(*pair, fractions=True).inside(height, 4) for pair in itertools.pairwise(edges)]
    assert (np.sum(bands, axis=0) == 1).all()


def test_polygon_is_the_pixels_whose_centres_are_inside():
    triangle = Polygon(((0, 0), (4, 0), (0, 4)), fractions=False)
    assert triangle.inside(4, 5).astype(int).tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_polygon_is_as_opencv_finds_each_point(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (7, 2))
    inside = Polygon(tuple(map(tuple, points)), fractions=True).inside(40, 60)
    contour = (points * (60, 40)).astype(np.float32)
    # A concave or crossing contour too: both count by the even-odd rule.
    expected = [
        [
            cv2.pointPolygonTest(contour, (x + 0.5, y + 0.5), measureDist=False) > 0
            for x in range(60)
        ]
        for y in range(40)
    ]
    np.testing.assert_array_equal(inside, expected)


def test_polygons_that_share_an_edge_share_no_pixel():
    upper = Polygon(((0, 0), (1, 0), (1, 0.7), (0, 0.3)), fractions=True)
    lower = Polygon(((0, 0.3), (1, 0.7), (1, 1), (0, 1)), fractions=True)
    assert (upper.inside(33, 57).astype(int) + lower.inside(33, 57) == 1).all()


@pytest.mark.parametrize(
    "half",
    [
        Polygon(((0, 0), (0.5, 0), (0.5, 1), (0, 1)), fractions=True),
        Rows(0.5, 1, fractions=True),
    ],
)
def test_shape_follows_the_size_of_the_image(half):
    assert [int(half.inside(*size).sum()) for size in ((4, 8), (2, 2), (4, 8))] == [16, 2, 16]
    assert half.inside(4, 8) is half.inside(4, 8)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (Rows(600, 720, fractions=False), "rows 600 to 720 has no pixel .* scored, 60x40"),
        (
            Polygon(((800, 2), (900, 2), (900, 9)), fractions=False),
            r"polygon that begins at \(800, 2\) has no pixel .* 60x40",
        ),
    ],
)
def test_shape_for_images_of_another_size_is_an_error(shape, text):
    for _ in range(2):
        with pytest.raises(FrameError, match=text) as told:
            shape.inside(40, 60)
        assert told.value.reason is Reason.SIZE_MISMATCH
    assert shape.inside(2000, 2000).any()


def test_shape_that_is_partly_outside_is_what_is_left_of_it():
    assert np.argwhere(Rows(38, 90, fractions=False).inside(40, 2))[:, 0].tolist() == [
        *(38, 38, 39, 39),
    ]
    square = Polygon(((50, 30), (90, 30), (90, 70), (50, 70)), fractions=False)
    expected = np.zeros((40, 60), bool)
    expected[30:, 50:] = True
    np.testing.assert_array_equal(square.inside(40, 60), expected)


@pytest.mark.parametrize("value", [1, 7, 255])
def test_mask_is_what_is_not_zero(tmp_path, value):
    picture = np.zeros((6, 9), np.uint8)
    picture[2:4, 3:] = value
    cv2.imwrite(str(tmp_path / "m.png"), picture)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png").inside(6, 9), picture > 0)


def test_mask_of_colour_or_one_bit(tmp_path):
    picture = np.zeros((6, 9, 3), np.uint8)
    picture[1, 2] = 0, 0, 255
    cv2.imwrite(str(tmp_path / "c.png"), picture)
    cv2.imwrite(str(tmp_path / "b.png"), picture[..., 2], [cv2.IMWRITE_PNG_BILEVEL, 1])
    for file in ("c.png", "b.png"):
        assert np.argwhere(read_mask(tmp_path / file).inside(6, 9)).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("palette", "is_clear"),
    [
        ([(0, 0, 0), (255, 255, 255)], True),
        ([(0, 0, 0), (128, 0, 0), (0, 128, 0)], True),
        ([(255, 255, 255), (0, 0, 0)], False),  # as Pillow and pngquant order it
        ([(68, 1, 84), (253, 231, 37)], False),
        ([(0, 0, 0)], False),
    ],
)
def test_mask_with_a_palette_looks_as_it_is_read(tmp_path, palette, is_clear):
    colors = bytes(itertools.chain.from_iterable(palette))
    rows = [bytes([0, 1, 0]), bytes([1, 1, 0])]
    (tmp_path / "m.png").write_bytes(make_png(3, 2, 8, 3, rows, chunks=[(b"PLTE", colors)]))
    if is_clear:
        assert read_mask(tmp_path / "m.png").pixels.tolist() == [
            [False, True, False],
            [True, True, False],
        ]
        return
    with pytest.raises(ConfigurationError, match=r"m\.png is an indexed PNG in which index 0 and"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    ("outside", "inside", "is_clear"),
    [
        ((0, 255), (255, 255), True),
        ((0, 0), (255, 255), True),
        ((255, 0), (255, 255), False),
        ((0, 0), (255, 254), False),
    ],
)
def test_mask_with_alpha_looks_as_it_is_read(tmp_path, gray, outside, inside, is_clear):
    repeats = 1 if gray else 3
    pixels = [bytes([color] * repeats + [alpha]) for color, alpha in (outside, inside)]
    (tmp_path / "m.png").write_bytes(make_png(2, 1, 8, 4 if gray else 6, [b"".join(pixels)]))
    if is_clear:
        assert read_mask(tmp_path / "m.png").pixels.tolist() == [[False, True]]
        return
    with pytest.raises(ConfigurationError, match=r"m\.png has transparent pixels that are not"):
        read_mask(tmp_path / "m.png")


def test_mask_is_turned_as_its_exif_data_say(tmp_path):
    quarter = b"II" + struct.pack("<HIHHHIII", 42, 8, 1, 0x0112, 3, 1, 6, 0)
    rows = [bytes([255, 255, 0]), bytes([0, 0, 0])]
    (tmp_path / "m.png").write_bytes(make_png(3, 2, 8, 0, rows, chunks=[(b"eXIf", quarter)]))
    turned = cv2.imread(str(tmp_path / "m.png"), cv2.IMREAD_GRAYSCALE)
    assert turned.shape == (3, 2)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png").inside(3, 2), turned > 0)


def test_mask_of_another_size_names_both():
    mask = Mask(np.ones((6, 9), bool), "bonnet.png")
    with pytest.raises(FrameError, match=r"bonnet\.png is 9x6, but .* scored is 12x8"):
        mask.inside(8, 12)


def test_mask_of_nothing_is_no_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((6, 9), np.uint8))
    with pytest.raises(ConfigurationError, match=r"m\.png is 0 everywhere"):
        read_mask(tmp_path / "m.png")


def test_label_image_is_no_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "labels.png"), np.arange(54, dtype=np.uint8).reshape(6, 9))
    with pytest.raises(ConfigurationError, match=r"labels\.png has 53 values besides 0 \(1, 2, 3"):
        read_mask(tmp_path / "labels.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.png", b"", "is not a PNG"),
        ("m.jpg", b"\xff\xd8\xff\xe0", "is not a PNG"),
        ("m.png", b"\x89PNG\r\n\x1a\n" + b"\x00" * 60, "is not a PNG"),
    ],
)
def test_file_that_is_no_mask(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_mask(tmp_path / name)


def test_mask_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_mask(tmp_path / "m.png")


def test_mask_that_was_cut_short(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.eye(300, dtype=np.uint8))
    whole = (tmp_path / "m.png").read_bytes()
    (tmp_path / "m.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match=r"m\.png: png image 300x300 .* cannot be decoded"):
        read_mask(tmp_path / "m.png")
