"""The compiled loops behind the types of mistakes.

All classes are treated in one pass wherever that is possible: a wrong pixel matters to two classes
only, that of its ground truth, which misses it, and that of its prediction, which has it in excess.
Plain Python that `deeplab_miou.metric.compiling` compiles for explicit signatures.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from deeplab_miou.metric.compiling import LABEL_MAP, array_type, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# What may be near a wrong pixel: right pixels of a class, pixels that are rightly another's, and
# wrong pixels that are near both, in the ground truth of the class or in its prediction.
RIGHT, OTHER, MISSED_SEEDS, EXCESS_SEEDS = 0, 1, 2, 3
# Bits of a wrong pixel, each for the class that misses it and for the one that has it in excess.
MISSED_NEAR_RIGHT, EXCESS_NEAR_RIGHT = 1, 2
MISSED_NEAR_OTHER, EXCESS_NEAR_OTHER = 4, 8
MISSED_SEAM, EXCESS_SEAM = 16, 32
MISSED_BOUNDARY, EXCESS_BOUNDARY = 64, 128
_MISSED_SEED = MISSED_NEAR_RIGHT | MISSED_NEAR_OTHER
_EXCESS_SEED = EXCESS_NEAR_RIGHT | EXCESS_NEAR_OTHER
_MISSED_BITS = np.array([MISSED_NEAR_RIGHT, MISSED_NEAR_OTHER, MISSED_SEAM, 0], np.uint8)
_EXCESS_BITS = np.array([EXCESS_NEAR_RIGHT, EXCESS_NEAR_OTHER, 0, EXCESS_SEAM], np.uint8)
_LEAST_ROWS = 32

_MARKS = array_type("uint8", 2)


def _spans(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], spans: NDArray[np.int64]
) -> None:
    """Find the first and the last column in which each class is wrong, into (256, 2) spans."""
    spans[:, 0] = truth.shape[1]
    spans[:, 1] = -1
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            t = truth[y, x]
            p = prediction[y, x]
            if t != p:
                spans[t, 0] = min(spans[t, 0], x)
                spans[t, 1] = max(spans[t, 1], x)
                spans[p, 0] = min(spans[p, 0], x)
                spans[p, 1] = max(spans[p, 1], x)


def _place(  # noqa: PLR0917 - compiled code takes no keywords
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    marks: NDArray[np.uint8],
    what: int,
    train_id: np.uint8,
    far: Any,  # noqa: ANN401 - of the element type of `out`
    out: NDArray[Any],
) -> None:
    """Write 0 where a row has what is looked for and `far` elsewhere; all (w,)."""
    for x in range(out.size):
        own, predicted = truth[x] == train_id, prediction[x] == train_id
        found = own & predicted
        if what == OTHER:
            found = not (own | predicted)
        elif what == MISSED_SEEDS:
            found = own & ((marks[x] & _MISSED_SEED) == _MISSED_SEED)
        elif what == EXCESS_SEEDS:
            found = predicted & ((marks[x] & _EXCESS_SEED) == _EXCESS_SEED)
        out[x] = out.dtype.type(0) if found else far


_spans_jitted = numba.extending.register_jitable(_spans)
_place_jitted = numba.extending.register_jitable(_place)


def _look_around(  # noqa: C901, PLR0912, PLR0917 - one loop over blocks of rows and classes
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    marks: NDArray[np.uint8],
    what: int,
    is_class: NDArray[np.uint8],
    heights: NDArray[Any],
) -> None:
    """Mark the wrong pixels that have something of their class within reach.

    By separation, as exact distance transforms do: first how far it is within each column, then
    whether one of the columns around has it within the height of the disk there. Rows are taken in
    blocks, and of these only the columns in which a class is wrong.

    Args:
        truth: train ids, uint8 ``(h, w)``.
        prediction: predicted ids, likewise.
        marks: uint8 ``(h, w)`` bits of wrong pixels, to be added to.
        what: RIGHT, OTHER, MISSED_SEEDS or EXCESS_SEEDS.
        is_class: (256,) 1 for ids that are counted.
        heights: (2 * reach + 1,) how far up and down a disk reaches in each of its columns; its
            type holds reach + 2.
    """
    height, width = truth.shape
    reach = heights.size // 2
    number = heights.dtype.type
    one, far = number(1), number(reach + 1)
    rows = max(_LEAST_ROWS, 2 * reach)
    away = np.full((rows + 2 * reach, width + 2 * reach), far)
    spans = np.empty((256, 2), np.int64)
    missed_bit, excess_bit = _MISSED_BITS[what], _EXCESS_BITS[what]
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, past_last = max(top - reach, 0), min(bottom + reach, height)
        _spans_jitted(truth[top:bottom], prediction[top:bottom], spans)
        for k in range(256):
            if is_class[k] == 0 or spans[k, 1] < 0:
                continue
            train_id = np.uint8(k)
            left, right = max(spans[k, 0] - reach, 0), min(spans[k, 1] + reach + 1, width)
            for y in range(first, past_last):
                row = away[y - first, left + reach : right + reach]
                _place_jitted(
                    truth[y, left:right],
                    prediction[y, left:right],
                    marks[y, left:right],
                    what,
                    train_id,
                    far,
                    row,
                )
                if y > first:
                    above = away[y - first - 1, left + reach : right + reach]
                    for x in range(row.size):
                        farther = number(above[x] + one)
                        row[x] = min(row[x], farther)
            for y in range(past_last - 2, top - 1, -1):
                row = away[y - first, left + reach : right + reach]
                below = away[y - first + 1, left + reach : right + reach]
                for x in range(row.size):
                    farther = number(below[x] + one)
                    row[x] = min(row[x], farther)
            for y in range(top, bottom):
                for x in range(spans[k, 0], spans[k, 1] + 1):
                    own, predicted = truth[y, x] == train_id, prediction[y, x] == train_id
                    bit = missed_bit if own else excess_bit
                    if own == predicted or bit == 0:
                        continue
                    around = away[y - first, x : x + heights.size]
                    is_near = around[reach] <= heights[reach]
                    if not is_near:
                        for column in range(heights.size):
                            is_near |= around[column] <= heights[column]
                    if is_near:
                        marks[y, x] |= bit


@functools.cache
def look_around(number: str) -> Callable[..., None]:
    """Return `_look_around` compiled for distances of a type, ``uint8`` or ``uint16``."""
    heights = array_type(number, 1)
    return compiled(
        _look_around,
        (LABEL_MAP, LABEL_MAP, _MARKS, numba.types.int64, array_type("uint8", 1), heights),
    )
