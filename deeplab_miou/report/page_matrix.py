"""The confusion matrix as the page draws it: cells, or a picture if there are too many."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from deeplab_miou.metric.scores import divide

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Beyond this many classes the matrix is a picture: a page of 20,000 SVG cells is slow.
_MOST_DRAWN_CLASSES = 40
_HEAT_RGB = (70, 125, 220)


class Cell(NamedTuple):
    """One cell of the matrix."""

    row: int
    column: int
    share: float
    opacity: float
    title: str


def matrix_cells(matrix: NDArray[np.int64], names: list[str]) -> list[Cell]:
    """Return the cells that are not empty, none of a large matrix; a row's shares sum to one."""
    if len(matrix) > _MOST_DRAWN_CLASSES:
        return []
    shares = _shares(matrix)
    columns = [*names, "invalid prediction"]
    return [
        Cell(
            int(row),
            int(column),
            round(float(shares[row, column]), 4),
            # Mistakes are rare: on the scale of the diagonal they would hardly show.
            round(float(shares[row, column]) ** (1.0 if row == column else 0.5), 4),
            f"{names[row]} predicted as {columns[column]}: {int(matrix[row, column]):,} pixels, "
            f"{shares[row, column]:.2%}",
        )
        for row, column in np.argwhere(matrix)
    ]


def matrix_picture(matrix: NDArray[np.int64]) -> str:
    """Return a large matrix as a data URI: one pixel a cell, its share as opacity; else nothing."""
    if len(matrix) <= _MOST_DRAWN_CLASSES:
        return ""
    pixels = np.empty((*matrix.shape, 4), np.uint8)
    pixels[..., :3] = _HEAT_RGB[::-1]
    pixels[..., 3] = np.rint(255 * _shares(matrix))
    _, data = cv2.imencode(".png", pixels)
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"


def _shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.nan_to_num(divide(matrix, matrix.sum(axis=1, keepdims=True)))
