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

from deeplab_miou.metric.compiling import compiled

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


def _root(parents: NDArray[np.int32], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


_root_jitted = numba.extending.register_jitable(_root)


def _run_end(own: NDArray[np.uint8], marks: NDArray[np.uint8], member: int, x: int) -> int:
    """Return where the run ends that begins at x: of one id, and of members only."""
    label = own[x]
    x += 1
    while x < own.size and own[x] == label and (member == 0 or marks[x] & member):
        x += 1
    return x


_run_end_jitted = numba.extending.register_jitable(_run_end)


def _join_runs(  # noqa: C901 - two passes over runs
    own: NDArray[np.uint8], marks: NDArray[np.uint8], member: int
) -> NDArray[np.int32]:
    """Join the runs of pixels of one id into connected components, diagonals included.

    Args:
        own: ids, uint8 ``(h, w)``.
        marks: bits, likewise.
        member: bit that a pixel must have to take part; 0 for all pixels.

    Returns:
        For each run, row by row, another one of its component or itself; see `_root`.
    """
    height, width = own.shape
    count = 0
    for y in range(height):
        x = 0
        while x < width:
            if member and not marks[y, x] & member:
                x += 1
                continue
            x = _run_end_jitted(own[y], marks[y], member, x)
            count += 1
    parents = np.arange(count).astype(np.int32)
    # Begin and end of the runs of a row, and of the one before.
    spans = np.empty((2, width, 2), np.int32)
    before, run = 0, 0
    for y in range(height):
        here, above = spans[y & 1], spans[1 - (y & 1)]
        begin, x = run, 0
        while x < width:
            if member and not marks[y, x] & member:
                x += 1
                continue
            here[run - begin, 0] = x
            x = _run_end_jitted(own[y], marks[y], member, x)
            here[run - begin, 1] = x
            run += 1
        k = before
        for each in range(begin, run):
            start, end = here[each - begin, 0], here[each - begin, 1]
            while k < begin and above[k - before, 1] < start:
                k += 1
            other = k
            while other < begin and above[other - before, 0] <= end:
                if own[y, start] == own[y - 1, above[other - before, 0]]:
                    a, b = _root_jitted(parents, each), _root_jitted(parents, other)
                    parents[max(a, b)] = min(a, b)
                other += 1
        before = begin
    return parents


_join_runs_jitted = numba.extending.register_jitable(_join_runs)


def _keep_boundaries(  # noqa: C901 - two loops over runs
    own: NDArray[np.uint8],
    other: NDArray[np.uint8],
    marks: NDArray[np.uint8],
    seam: int,
    boundary: int,
) -> None:
    """Mark the components of seams that touch both what is right and what is rightly another class.

    Args:
        own: the map by whose ids seams belong together, uint8 ``(h, w)``.
        other: the other map.
        marks: bits.
        seam: the bit of seams.
        boundary: the bit to set.
    """
    height, width = own.shape
    parents = _join_runs_jitted(own, marks, seam)
    touches = np.zeros(parents.size, np.uint8)
    for sets in range(2):
        run = 0
        for y in range(height):
            x = 0
            while x < width:
                if not marks[y, x] & seam:
                    x += 1
                    continue
                start, label = x, own[y, x]
                x = _run_end_jitted(own[y], marks[y], seam, x)
                root = _root_jitted(parents, run)
                run += 1
                if sets:
                    if touches[root] == 3:  # noqa: PLR2004 - both
                        for column in range(start, x):
                            marks[y, column] |= boundary
                    continue
                for row in range(max(y - 1, 0), min(y + 2, height)):
                    for column in range(max(start - 1, 0), min(x + 1, width)):
                        is_own = own[row, column] == label
                        if is_own == (other[row, column] == label):
                            touches[root] |= 1 if is_own else 2


def _count_types(  # noqa: PLR0917 - compiled code takes no keywords
    own: NDArray[np.uint8],
    other: NDArray[np.uint8],
    marks: NDArray[np.uint8],
    boundary: int,
    is_labelled: NDArray[np.uint8],
    counts: NDArray[np.int64],
) -> None:
    """Count the wrong pixels of each id by their type.

    Args:
        own: the map whose segments count, uint8 ``(h, w)``.
        other: the other map.
        marks: bits.
        boundary: the bit of boundaries.
        is_labelled: uint8 ``(h, w)``, 0 for pixels that are not scored.
        counts: (256, 3) to be added to: boundary, extent, segment.
    """
    height, width = own.shape
    parents = _join_runs_jitted(own, marks, 0)
    is_right = np.zeros(parents.size, np.uint8)
    for counting in range(2):
        run = 0
        for y in range(height):
            x = 0
            while x < width:
                start, label = x, own[y, x]
                x = _run_end_jitted(own[y], marks[y], 0, x)
                root = _root_jitted(parents, run)
                run += 1
                for column in range(start, x):
                    if own[y, column] == other[y, column]:
                        is_right[root] = 1
                    elif counting and is_labelled[y, column]:
                        kind = 1 if is_right[root] else 2
                        counts[label, 0 if marks[y, column] & boundary else kind] += 1


@functools.cache
def look_around(number: str) -> Callable[..., None]:
    """Return `_look_around` compiled for distances of a type, ``uint8`` or ``uint16``."""
    heights = numba.types.Array(getattr(numba.types, number), 1, "C")
    return compiled(
        _look_around, (_IDS, _IDS, _MARKS, numba.types.int64, _array("uint8", 1), heights)
    )


@functools.cache
def keep_boundaries() -> Callable[..., None]:
    """Return `_keep_boundaries` compiled."""
    integer = numba.types.int64
    return compiled(_keep_boundaries, (_IDS, _IDS, _MARKS, integer, integer))


@functools.cache
def count_types() -> Callable[..., None]:
    """Return `_count_types` compiled."""
    counts = _array("int64", 2)
    return compiled(_count_types, (_IDS, _IDS, _MARKS, numba.types.int64, _IDS, counts))


def _array(element: str, dimensions: int) -> Any:  # noqa: ANN401 - numba is untyped
    return numba.types.Array(getattr(numba.types, element), dimensions, "C")


# Label maps are views of messages.
_IDS = numba.types.Array(numba.types.uint8, 2, "C", readonly=True)
_MARKS = _array("uint8", 2)
