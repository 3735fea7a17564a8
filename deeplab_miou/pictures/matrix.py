"""A confusion matrix drawn for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from deeplab_miou.metric.scores import divide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (30, 30, 30)
_PAPER = (255, 255, 255)
_MOST_CHARACTERS = 18
# Numbers are drawn only where they can be read.
_NUMBER_CELL = 34
_NAME_CELL = 12
_MAX_SIDE = 1400
_DARK = 0.55


def draw_matrix(matrix: NDArray[np.int64], class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Return a picture of a matrix, each row normalised to its ground truth.

    Args:
        matrix: (n, n + 1) int64 counts, rows ground truth, last column invalid predictions.
        class_names: n names.

    Returns:
        ``(H, W, 3)`` uint8 RGB; a class that never occurs in the ground truth has a grey row.
    """
    n = len(class_names)
    share = divide(matrix, matrix.sum(axis=1, keepdims=True))
    cell = int(np.clip(_MAX_SIDE // (n + 1), 4, 64))
    scale = min(cell / 70, 0.6)
    names = [_short(name) for name in class_names]
    columns = [*names, "invalid"]
    margin = _margin(columns, scale) if cell >= _NAME_CELL else 8
    title = 26
    height, width = title + margin + n * cell + 8, margin + (n + 1) * cell + 8
    width = max(width, 330)
    picture = np.full((height, width, 3), _PAPER, np.uint8)
    top, left = title + margin, margin

    filled = np.kron(_color(share), np.ones((cell, cell, 1), np.uint8))
    picture[top : top + n * cell, left : left + (n + 1) * cell] = filled
    _text(picture, "rows: ground truth, columns: prediction (%)", (6, 18), 0.42)
    if cell >= _NAME_CELL:
        for row, name in enumerate(names):
            _text(picture, name, (6, top + row * cell + cell // 2 + round(8 * scale)), scale)
        _columns(picture, columns, (top, left), cell, scale)
    if cell >= _NUMBER_CELL:
        _numbers(picture, share, (top, left), cell)
    return picture


def _color(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """White to blue on and off the diagonal white to red, grey where undefined."""
    n = share.shape[0]
    value = np.nan_to_num(share)[..., None]
    # Square root: rare confusions are what people look for.
    value = np.sqrt(value)
    right, wrong = np.array([20, 80, 160]), np.array([190, 40, 30])
    full = np.where(np.eye(n, n + 1, dtype=bool)[..., None], right, wrong)
    colors = 255 + value * (full - 255.0)
    colors[np.isnan(share)] = 225
    return colors.round().astype(np.uint8)


def _columns(
    picture: NDArray[np.uint8],
    names: Sequence[str],
    origin: tuple[int, int],
    cell: int,
    scale: float,
) -> None:
    """Write the column names from bottom to top."""
    top, left = origin
    strip = np.full((cell * len(names), top - 28, 3), _PAPER, np.uint8)
    for column, name in enumerate(names):
        _text(strip, name, (4, column * cell + cell // 2 + round(8 * scale)), scale)
    turned = cv2.rotate(strip, cv2.ROTATE_90_COUNTERCLOCKWISE)
    picture[28:top, left : left + turned.shape[1]] = turned


def _numbers(
    picture: NDArray[np.uint8], share: NDArray[np.float64], origin: tuple[int, int], cell: int
) -> None:
    top, left = origin
    for (row, column), value in np.ndenumerate(share):
        if np.isnan(value) or value == 0:
            continue
        text = f"{100 * value:.0f}" if value >= 0.01 else "<1"  # noqa: PLR2004
        (width, height), _ = cv2.getTextSize(text, _FONT, 0.38, 1)
        at = (
            left + column * cell + (cell - width) // 2,
            top + row * cell + (cell + height) // 2,
        )
        _text(picture, text, at, 0.38, _PAPER if np.sqrt(value) > _DARK else _INK)


def _text(
    picture: NDArray[np.uint8],
    text: str,
    at: tuple[int, int],
    scale: float,
    color: tuple[int, int, int] = _INK,
) -> None:
    cv2.putText(picture, text, at, _FONT, scale, color, 1, cv2.LINE_AA)


def _margin(names: Sequence[str], scale: float) -> int:
    return 12 + max(cv2.getTextSize(name, _FONT, scale, 1)[0][0] for name in names)


def _short(name: str) -> str:
    # cv2 draws ASCII only.
    name = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    return name if len(name) <= _MOST_CHARACTERS else name[: _MOST_CHARACTERS - 2] + ".."
