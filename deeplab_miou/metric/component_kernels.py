"""The compiled loops over connected components of label maps: types of mistakes, sizes of objects.

Runs of one id are joined row by row, all classes in one pass. Plain Python that
`deeplab_miou.metric.compiling` compiles for explicit signatures.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numba
import numpy as np

from deeplab_miou.metric.compiling import LABEL_MAP, array_type, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_MARKS = array_type("uint8", 2)


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


def _write_areas(own: NDArray[np.uint8], ignored: np.uint8, areas: NDArray[np.int32]) -> None:
    """Write how many pixels the component of each pixel has.

    Args:
        own: ids, uint8 ``(h, w)``.
        ignored: the id of pixels that are of no component.
        areas: int32 ``(h, w)`` of zeros.
    """
    height, width = own.shape
    parents = _join_runs_jitted(own, own, 0)
    sizes = np.zeros(parents.size, np.int32)
    for writes in range(2):
        run = 0
        for y in range(height):
            x = 0
            while x < width:
                start = x
                x = _run_end_jitted(own[y], own[y], 0, x)
                root = _root_jitted(parents, run)
                run += 1
                if own[y, start] == ignored:
                    continue
                if writes:
                    areas[y, start:x] = sizes[root]
                else:
                    sizes[root] += x - start


@functools.cache
def keep_boundaries() -> Callable[..., None]:
    """Return `_keep_boundaries` compiled."""
    integer = numba.types.int64
    return compiled(_keep_boundaries, (LABEL_MAP, LABEL_MAP, _MARKS, integer, integer))


@functools.cache
def count_types() -> Callable[..., None]:
    """Return `_count_types` compiled."""
    counts = array_type("int64", 2)
    return compiled(
        _count_types, (LABEL_MAP, LABEL_MAP, _MARKS, numba.types.int64, LABEL_MAP, counts)
    )


@functools.cache
def write_areas() -> Callable[..., None]:
    """Return `_write_areas` compiled."""
    return compiled(_write_areas, (LABEL_MAP, numba.types.uint8, array_type("int32", 2)))
