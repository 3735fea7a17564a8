"""Borders and objects against the slow way to find them."""

import numpy as np
import pytest

from deeplab_miou.regions.contents import (
    ObjectSize,
    border,
    component_areas,
    near_void,
    object_sizes,
)

IGNORE = 255


def random_map(seed, height=23, width=31, classes=4):
    """Return a label map of blocks, some pixels of which are ignored."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, classes, (height // 4 + 1, width // 4 + 1), np.uint8)
    ids = np.kron(ids, np.ones((4, 4), np.uint8))[:height, :width].copy()
    ids[rng.random(ids.shape) < 0.1] = rng.integers(0, classes)
    ids[rng.random(ids.shape) < 0.1] = IGNORE
    return ids


def near_another_class(ids, distance):
    """Measure the distance of every pair of pixels."""
    rows, columns = np.indices(ids.shape)
    labelled = ids != IGNORE
    y, x, c = rows[labelled], columns[labelled], ids[labelled]
    near = np.zeros(ids.shape, bool)
    for y0, x0, c0 in zip(y, x, c, strict=True):
        squared = (y - y0) ** 2 + (x - x0) ** 2
        near[y0, x0] = bool(((c != c0) & (squared <= distance**2)).any())
    return near


@pytest.mark.parametrize("distance", [1, 1.5, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_border_is_what_is_near_another_class(seed, distance):
    ids = random_map(seed)
    np.testing.assert_array_equal(border(ids, IGNORE, distance), near_another_class(ids, distance))


@pytest.mark.parametrize("distance", [1, 1.5, 3, 7])
@pytest.mark.parametrize("seed", range(4))
def test_near_void_is_what_is_near_an_ignored_pixel(seed, distance):
    ids = random_map(seed)
    rows, columns = np.indices(ids.shape)
    void = ids == IGNORE
    squared = (rows[void] - rows[..., None]) ** 2 + (columns[void] - columns[..., None]) ** 2
    expected = (squared <= distance**2).any(axis=-1) & ~void
    assert expected.any()
    np.testing.assert_array_equal(near_void(ids, IGNORE, distance), expected)


def test_the_edge_of_the_image_is_not_void():
    assert not near_void(np.zeros((5, 5), np.uint8), IGNORE, 3).any()


def test_ignored_pixels_and_the_edge_of_the_image_are_no_border():
    ids = np.full((9, 9), 7, np.uint8)
    ids[4] = IGNORE
    assert not border(ids, IGNORE, 5).any()


def test_border_reaches_across_ignored_pixels():
    ids = np.array([[0, IGNORE, IGNORE, 1, 1]], np.uint8)
    assert border(ids, IGNORE, 3).tolist() == [[True, False, False, True, False]]


def flooded_areas(ids):
    """Flood each component, pixel by pixel."""
    areas = np.zeros(ids.shape, int)
    for start in zip(*np.nonzero(ids != IGNORE), strict=True):
        if areas[start]:
            continue
        component, frontier = {start}, [start]
        while frontier:
            y, x = frontier.pop()
            around = {(y + i, x + k) for i in (-1, 0, 1) for k in (-1, 0, 1)}
            for place in around - component:
                inside = all(0 <= at < most for at, most in zip(place, ids.shape, strict=True))
                if inside and ids[place] == ids[start]:
                    component.add(place)
                    frontier.append(place)
        for place in component:
            areas[place] = len(component)
    return areas


@pytest.mark.parametrize("seed", range(4))
def test_areas_are_those_of_a_flood(seed):
    ids = random_map(seed)
    np.testing.assert_array_equal(component_areas(ids, IGNORE), flooded_areas(ids))


def test_sizes_are_those_of_coco():
    ids = np.full((200, 200), IGNORE, np.uint8)
    ids[0:31, 0:33] = 3  # 1023 pixels
    ids[40:72, 0:32] = 3  # 1024
    ids[100:196, 100:196] = 4  # 9216
    found = object_sizes(ids, IGNORE)
    assert {size: int(mask.sum()) for size, mask in found.items()} == {
        ObjectSize.SMALL: 1023,
        ObjectSize.MEDIUM: 1024,
        ObjectSize.LARGE: 9216,
    }


def test_ignored_pixels_belong_to_no_object():
    ids = np.full((5, 5), IGNORE, np.uint8)
    assert not any(mask.any() for mask in object_sizes(ids, IGNORE).values())
