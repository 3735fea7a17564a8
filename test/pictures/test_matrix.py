from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.pictures.matrix import draw_matrix

BLUE, RED, WHITE, GREY = [20, 80, 160], [190, 40, 30], [255, 255, 255], [225, 225, 225]


def cells(picture, n):
    """Return the colour of each cell's corner: cells fill the picture but for its margins."""
    cell = min(1400 // (n + 1), 64)
    bottom = picture.shape[0] - 8
    top = bottom - n * cell
    # The left margin is as wide as the top one is high below the title.
    left = top - 26
    return np.array(
        [[picture[top + r * cell + 2, left + c * cell + 2] for c in range(n + 1)] for r in range(n)]
    )


def test_rows_are_normalised_and_hits_differ_from_misses():
    matrix = np.array([[10, 0, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0]], np.int64)
    colors = cells(draw_matrix(matrix, ["road", "car", "sky"]), 3)
    assert colors[0].tolist() == [BLUE, WHITE, WHITE, WHITE]
    assert colors[1].tolist() == [WHITE, WHITE, WHITE, RED]
    assert colors[2].tolist() == [GREY] * 4


def test_half_of_a_row_is_paler_than_all_of_it():
    matrix = np.array([[5, 5, 0], [0, 7, 0]], np.int64)
    colors = cells(draw_matrix(matrix, ["a", "b"]), 2).astype(int)
    assert BLUE[0] < colors[0, 0, 0] < 255
    assert RED[1] < colors[0, 1, 1] < 255


@pytest.mark.parametrize("n", [1, 19, 150, 255])
def test_any_number_of_classes_fits_a_screen(n):
    names = [f"a class with a long name {i}" for i in range(n)]
    picture = draw_matrix(np.eye(n, n + 1, dtype=np.int64), names)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert max(picture.shape) <= 1700


def test_names_that_cannot_be_drawn_do_no_harm():
    picture = draw_matrix(np.ones((2, 3), np.int64), ["Straße\n", ""])
    assert picture.shape[2] == 3
