"""The file that declares regions, and the ground truths that come of it."""

import cv2
import numpy as np
import pytest

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.regions.file_format import read_regions

IGNORE = 255
ALL = """
regions:
  - {name: bonnet, mask: bonnet.png, ignore: true}
  - {name: lens, mask: lens.png}
  - {name: near, rows: [0.5, 1.0]}
  - {name: first rows, rows: [0, 1]}
  - {name: lane, polygon: [[0.0, 0], [1, 0], [1, 1]]}
  - {name: border, border: 1}
  - {name: interior, interior: 1}
  - {name: small, objects: small}
  - {name: contours, void: 1}
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with two masks: the last row, and the first column."""
    mask = np.zeros((4, 6), np.uint8)
    mask[3] = 255
    cv2.imwrite(str(tmp_path / "bonnet.png"), mask)
    mask[:] = 0
    mask[:, 0] = 1
    cv2.imwrite(str(tmp_path / "lens.png"), mask)
    return tmp_path


def read(folder, text):
    """Write and read a file."""
    (folder / "regions.yaml").write_text(text)
    return read_regions(str(folder / "regions.yaml"))


def test_no_file_has_no_regions():
    assert read_regions("").names == ()


def test_every_kind(folder):
    regions = read(folder, ALL)
    assert regions.names == (
        "lens",
        "near",
        "first rows",
        "lane",
        "border",
        "interior",
        "small",
        "contours",
    )
    truth = np.zeros((4, 6), np.uint8)
    truth[:, 3:] = 1
    truth = regions.without_ignored(truth, IGNORE)
    assert (truth[3] == IGNORE).all()
    assert (truth[:3] != IGNORE).all()
    labelled = {
        name: (each != IGNORE).astype(int).tolist()
        for name, each in zip(regions.names, regions.ground_truths(truth, IGNORE), strict=True)
    }
    none, every = [0] * 6, [1] * 6
    assert labelled == {
        "lens": [[1, 0, 0, 0, 0, 0]] * 3 + [none],
        "near": [none, none, every, none],
        "first rows": [every, none, none, none],
        "lane": [[0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1], none],
        "border": [[0, 0, 1, 1, 0, 0]] * 3 + [none],
        "interior": [[1, 1, 0, 0, 1, 1]] * 3 + [none],
        "small": [every] * 3 + [none],
        "contours": [none, none, every, none],
    }


def test_bands_of_depth_meet_and_lack_what_was_not_measured(folder):
    text = "regions:\n  - {name: near, depth: [0, 10]}\n  - {name: far, depth: [10.0, .inf]}\n"
    regions = read(folder, text)
    assert regions.by_depth == ("near", "far")
    depth = np.array([[1e-3, 9.999, 10, 1000, np.nan]], np.float32)
    truth = np.array([[1, 1, IGNORE, 1, 1]], np.uint8)
    near, far = (each != IGNORE for each in regions.ground_truths(truth, IGNORE, depth))
    assert near.tolist() == [[True, True, False, False, False]]
    assert far.tolist() == [[False, False, False, True, False]]
    counted = regions.count_depth(truth, IGNORE, depth, is_unusable=False)
    assert counted.tolist() == [0, 0, 0, 1, 0]
    assert all((each == IGNORE).all() for each in regions.ground_truths(truth, IGNORE))
    assert regions.count_depth(truth, IGNORE, None, is_unusable=True).tolist() == [0, 1, 4, 0, 0]
    truth[0, 2] = 1
    (_, far) = (each != IGNORE for each in regions.ground_truths(truth, IGNORE, depth))
    assert far.tolist() == [[False, False, True, True, False]]


def test_digest_is_of_the_file_and_its_masks(folder):
    one = read(folder, ALL).digest
    assert read(folder, "# a remark\n" + ALL).digest == one
    assert read(folder, ALL.replace("0.5", "0.6")).digest != one
    cv2.imwrite(str(folder / "lens.png"), np.ones((4, 6), np.uint8))
    assert read(folder, ALL).digest != one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty, expected keys and values: regions"),
        ("regions: []", "regions has 0 entries, expected 1 to 32"),
        ("regions: [{rows: [0, 1]}]", r"regions\[0\] has no name"),
        ("regions: [{name: a}]", "has nothing that says where it is, expected one of: mask, rows"),
        ("regions: [{name: a, rows: [0, 1], border: 3}]", "has rows and border, expected one of"),
        ("regions: [{name: a, row: [0, 1]}]", r"regions\[0\]\.row is not a key here; known: name"),
        ("regions: [{name: a, rows: [0]}]", "has 1 entries, expected the first row and the one"),
        ("regions: [{name: a, rows: [5, 5]}]", "goes from 5 to 5, which is no row"),
        ("regions: [{name: a, rows: [0.2, 30]}]", "is 30, expected a number from 0 to 1"),
        ("regions: [{name: a, rows: [-0.2, 0.3]}]", r"is -0\.2, expected a number from 0 to 32768"),
        ("regions: [{name: a, polygon: [[0, 0], [1, 1]]}]", "has 2 corners, expected 3 to 1000"),
        (
            "regions: [{name: a, polygon: [[312.5, 0], [90, 0], [90, 50]]}]",
            r"polygon\[0\]\[0\] is 312\.5, expected a number from -1 to 2: if one .* round",
        ),
        (
            "regions: [{name: a, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}]",
            "polygon has only 0 and 1, which as whole numbers are pixels: write 1.0",
        ),
        ("regions: [{name: a, polygon: [[0], [1], [2]]}]", "has 1 numbers, expected x and y"),
        ("regions: [{name: a, border: 0}]", "is 0, expected a number from 1 to 50"),
        ("regions: [{name: a, border: wide}]", "is 'wide', expected a number from 1 to 50"),
        ("regions: [{name: a, objects: tiny}]", "'tiny', expected one of: small, medium, large"),
        ("regions: [{name: a, depth: [0]}]", "has 1 entries, expected from and to, in metres"),
        ("regions: [{name: a, depth: [10, 10]}]", "goes from 10 to 10 m, which is no distance"),
        ("regions: [{name: a, depth: [.inf, 10]}]", "is .inf, expected a number from 0 to 1e"),
        ("regions: [{name: a, depth: [-1, 10]}]", "is -1, expected a number from 0 to 1e"),
        ("regions: [{name: a, depth: [0, .nan]}]", "is .nan, expected a number from 0 to 1e"),
        ("regions: [{name: a, depth: [0, far]}]", "is 'far', expected a number from 0 to 1e"),
        ("regions: [{name: a, depth: [0, 9], ignore: true}]", "is for a mask, rows or a polygon"),
        ("regions: [{name: a, border: 3, ignore: true}]", "is for a mask, rows or a polygon only"),
        ("regions: [{name: a, rows: [0, 1], ignore: 1}]", "is 1, expected true or false"),
        ("regions: [{name: a, mask: none.png}]", r"line 1: mask .*none\.png cannot be read"),
        ("regions: [{name: a, mask: ''}]", r"line 1: regions\[0\]\.mask is empty, expected a PNG"),
        ("regions: [{name: a, mask: ~}]", r"^regions file \S+, line 1: regions\[0\]\.mask is None"),
        ("regions: [{name: a, mask: ~nobody-here/a.png}]", "line 1: path '~nobody-here/a.png' beg"),
        ("regions: [{name: " + 61 * "a" + ", rows: [0, 1]}]", "has 61 letters, expected at most"),
        (
            "regions:\n- {name: a, border: 2}\n- {name: a, border: 3}",
            r"line 3: regions\[1\]\.name is 'a', like regions\[0\]",
        ),
        (
            "regions:\n- {name: the  pole, border: 2}\n- {name: the pole, border: 3}",
            r"line 3: regions\[1\]\.name is 'the pole', like regions\[0\]",
        ),
        (
            "regions:\n- {name: Caf\u00e9, border: 2}\n- {name: Cafe\u0301, border: 3}",
            r"line 3: regions\[1\]\.name is .*, like regions\[0\]",
        ),
        (
            "regions: [{name: whole image, border: 2}]",
            "is 'whole image', which reports use for all of it: choose another",
        ),
        ('regions: [{name: "a\\tb", border: 2}]', "expected printable text on one line"),
    ],
)
def test_mistake_is_named(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "polygon",
    ["[[-20, 30], [80, 30], [31, -20]]", "[[-0.5, 0.75], [2.0, 0.75], [0.775, -0.5]]"],
)
def test_a_polygon_may_reach_beyond_the_image(tmp_path, polygon):
    regions = read(tmp_path, f"regions: [{{name: lane, polygon: {polygon}}}]")
    inside = regions.scored[0].where.inside(40, 40)
    y, x = np.mgrid[:40, :40] + 0.5
    beside = 50 * (x + 20) > 51 * (30 - y)
    np.testing.assert_array_equal(inside, (y < 30) & beside)


def test_names_that_differ_in_case_are_two_regions(tmp_path):
    regions = read(tmp_path, "regions:\n- {name: Far, border: 2}\n- {name: far, border: 3}")
    assert regions.names == ("Far", "far")
