"""Coarse logits to full-size labels: bilinear upsampling and argmax in one pass.

Between four neighbouring coarse logits every bilinear value is a convex combination of the four.
So a cell whose corners agree on the best class has it everywhere, and in any other cell only those
classes can win whose best corner is at least as good as some class's worst corner: a few of many.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from deeplab_miou.metric.compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray


_FILL_TYPES = (
    numba.types.Array(numba.float32, 3, "C"),
    numba.types.Array(numba.int64, 1, "C"),
    numba.types.Array(numba.float32, 1, "C"),
    numba.types.Array(numba.int64, 1, "C"),
    numba.types.Array(numba.float32, 1, "C"),
    numba.types.Array(numba.uint8, 2, "C"),
)


class Axis(NamedTuple):
    """How one axis is interpolated.

    Attributes:
        starts: ``(inputs + 1,)`` int64; outputs ``starts[i]`` to ``starts[i + 1] - 1`` lie between
            inputs ``i`` and ``i + 1``.
        weights: ``(outputs,)`` float32, the share of input ``i + 1``.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]


@functools.lru_cache(maxsize=64)
def make_axis(inputs: int, outputs: int, *, align_corners: bool, kept: int | None = None) -> Axis:
    """Return the interpolation of an axis by PyTorch's rule and in its arithmetic.

    Args:
        inputs: coarse logits on the axis.
        outputs: pixels that they are stretched to.
        align_corners: whether the outermost logits lie on the outermost pixels' centres.
        kept: pixels that are kept of these; None for all.
    """
    positions = np.arange(outputs, dtype=np.float32)
    if align_corners:
        scale = np.float32((inputs - 1) / (outputs - 1) if outputs > 1 else 0)
        source = positions * scale
    else:
        scale = np.float32(inputs / outputs)
        source = np.maximum((positions + np.float32(0.5)) * scale - np.float32(0.5), np.float32(0))
    lower = np.minimum(source.astype(np.int64), inputs - 1)
    weights = np.clip(source - lower.astype(np.float32), np.float32(0), np.float32(1))
    starts = np.searchsorted(lower[:kept], np.arange(inputs + 1))
    return Axis(starts, weights[:kept])


def label_map(logits: NDArray[np.float32], rows: Axis, columns: Axis) -> NDArray[np.uint8]:
    """Return the class of the largest interpolated logit of each pixel, the first of equals.

    Runs without the interpreter lock.

    Args:
        logits: ``(h, w, n)`` float32, contiguous, n at most 256.
        rows: interpolation of the first axis.
        columns: interpolation of the second.

    Returns:
        ``(height, width)`` uint8.
    """
    labels = np.empty((len(rows.weights), len(columns.weights)), np.uint8)
    compiled(_fill, _FILL_TYPES)(
        logits, rows.starts, rows.weights, columns.starts, columns.weights, labels
    )
    return labels


def _fill(  # type: ignore[no-untyped-def] # noqa: ANN202, PLR0917
    logits,  # noqa: ANN001
    row_starts,  # noqa: ANN001
    row_weights,  # noqa: ANN001
    column_starts,  # noqa: ANN001
    column_weights,  # noqa: ANN001
    labels,  # noqa: ANN001
):
    """Write the labels cell by cell; a cell is what lies between four neighbouring logits."""
    height, width, classes = logits.shape
    best = _argmax(logits)
    candidates = np.empty(classes, np.int64)
    for i in range(height):
        below = min(i + 1, height - 1)
        top, bottom = row_starts[i], row_starts[i + 1]
        for j in range(width):
            next_column = min(j + 1, width - 1)
            left, right = column_starts[j], column_starts[j + 1]
            winner = best[i, j]
            if winner == best[i, next_column] == best[below, j] == best[below, next_column]:
                labels[top:bottom, left:right] = winner
            elif top < bottom and left < right:
                corners = (
                    logits[i, j],
                    logits[i, next_column],
                    logits[below, j],
                    logits[below, next_column],
                )
                count = _candidates(corners, candidates)
                for y in range(top, bottom):
                    for x in range(left, right):
                        labels[y, x] = _winner(
                            corners, candidates[:count], row_weights[y], column_weights[x]
                        )


@numba.njit(nogil=True)
def _argmax(logits):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the best class of each coarse pixel, ``(h, w)`` int64."""
    height, width, classes = logits.shape
    best = np.empty((height, width), np.int64)
    for i in range(height):
        for j in range(width):
            winner = 0
            for k in range(1, classes):
                if logits[i, j, k] > logits[i, j, winner]:
                    winner = k
            best[i, j] = winner
    return best


@numba.njit(nogil=True)
def _candidates(corners, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Write the classes that can win in a cell, in their order, and return their number."""
    a, b, c, d = corners
    bound = np.float32(-np.inf)
    for k in range(len(a)):
        bound = max(bound, min(a[k], b[k], c[k], d[k]))
    count = 0
    for k in range(len(a)):
        if max(a[k], b[k], c[k], d[k]) >= bound:
            out[count] = k
            count += 1
    return count


@numba.njit(nogil=True)
def _winner(corners, candidates, down, right):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Return the candidate that is largest at one point of a cell."""
    a, b, c, d = corners
    up, left = np.float32(1) - down, np.float32(1) - right
    highest = np.float32(-np.inf)
    winner = 0
    for k in candidates:
        value = up * (left * a[k] + right * b[k]) + down * (left * c[k] + right * d[k])
        if value > highest:
            highest = value
            winner = k
    return winner
