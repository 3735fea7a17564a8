"""The compiled loops behind the confusion matrix and the lookup of ids.

Plain Python that `deeplab_miou.metric.compiling` compiles for one explicit signature each.
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

# Unsigned everywhere: a signed index costs Numba a wrap-around test, and mixing both gives floats.
_U = np.uint64
_ZERO, _ONE, _WORD, _LAST_BYTE, _BYTE = _U(0), _U(1), _U(8), _U(56), _U(255)
_HELD = 256  # words put aside: far enough that the stores are through before they are loaded again
_REPEAT = _U(0x0101010101010101)
_HIGH_BIT, _LOW = _U(128), _U(127) * _REPEAT


def _count_held(  # noqa: PLR0917 - compiled code takes no keywords
    ground_truth: NDArray[np.uint64],
    prediction: NDArray[np.uint64],
    cells: NDArray[np.uint16],
    held: np.uint64,
    num_classes: np.uint8,
    ignore_index: np.uint8,
    tables: NDArray[np.uint32],
) -> None:
    """Count the pixels of mixed words: first all cells, in vector instructions, then the counts."""
    ids = ground_truth.view(np.uint8)
    predicted = prediction.view(np.uint8)
    width = np.uint8(num_classes + np.uint8(1))
    for i in range(_U(_HELD) * _WORD):
        row = min(ids[i], width)
        row = num_classes if ids[i] == ignore_index else row
        column = min(predicted[i], num_classes)
        cells[i] = np.uint16(np.uint16(row) * np.uint16(width) + np.uint16(column))
    for i in range(_ZERO, held * _WORD, _U(2)):
        tables[_ZERO, _U(cells[i])] += np.uint32(1)
        tables[_ONE, _U(cells[i + _ONE])] += np.uint32(1)


_count_held_jitted = numba.extending.register_jitable(_count_held)


def _count_words(
    ground_truth: NDArray[np.uint64],
    prediction: NDArray[np.uint64],
    num_classes: np.uint8,
    ignore_index: np.uint8,
    tables: NDArray[np.uint32],
) -> None:
    """Count uint8 pixels, eight to a word.

    A word pair that repeats the last uniform one lengthens its run; what is not uniform is put
    aside and counted in bulk.

    Args:
        ground_truth: (h, w) words of eight ids each, any strides.
        prediction: the same of the prediction.
        num_classes: n, at most 254: a cell then fits uint16.
        ignore_index: the ground truth id that counts nowhere.
        tables: (2, (n + 2) * (n + 1)) counts to add to: row n takes ignored pixels, row n + 1
            ground truth ids that are neither. Neighbouring pixels go to different tables, as equal
            ones would wait for each other's store.
    """
    n = _U(num_classes)
    width = n + _ONE
    held_g = np.zeros(_HELD, np.uint64)
    held_p = np.zeros(_HELD, np.uint64)
    cells = np.empty(_HELD * 8, np.uint16)
    held = _ZERO
    run_g = _ZERO
    run_p = _ZERO
    cell = n * width if ignore_index == 0 else _ZERO
    run = _ZERO
    for r in range(_U(ground_truth.shape[0])):
        for c in range(_U(ground_truth.shape[1])):
            g = ground_truth[r, c]
            p = prediction[r, c]
            if ((g ^ run_g) | (p ^ run_p)) == _ZERO:
                run += _WORD
                continue
            # A word that equals itself turned by a byte is uniform.
            turned_g = (g << _WORD) | (g >> _LAST_BYTE)
            turned_p = (p << _WORD) | (p >> _LAST_BYTE)
            if ((g ^ turned_g) | (p ^ turned_p)) == _ZERO:
                tables[_ZERO, cell] += np.uint32(run)
                run_g = g
                run_p = p
                run = _WORD
                row = min(g & _BYTE, width)
                row = n if (g & _BYTE) == _U(ignore_index) else row
                cell = row * width + min(p & _BYTE, n)
                continue
            held_g[held] = g
            held_p[held] = p
            held += _ONE
            if held == _U(_HELD):
                _count_held_jitted(held_g, held_p, cells, held, num_classes, ignore_index, tables)
                held = _ZERO
    _count_held_jitted(held_g, held_p, cells, held, num_classes, ignore_index, tables)
    tables[_ZERO, cell] += np.uint32(run)


def _count_pixels(
    ground_truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int,
    tables: NDArray[np.uint32],
) -> None:
    """Count pixels of any integer type one by one, a run of equal pairs at a time.

    Args:
        ground_truth: (h, w) ids, any strides.
        prediction: (h, w) ids, any strides.
        num_classes: n.
        ignore_index: the ground truth id that counts nowhere.
        tables: (k, (n + 2) * (n + 1)) counts to add to: row n takes ignored pixels, row n + 1
            ground truth ids that are neither.
    """
    n = np.int64(num_classes)
    subs = tables.shape[0]
    sub = 0
    last_g = np.int64(ignore_index)
    last_p = np.int64(0)
    cell = _U(n * (n + 1))
    run = _U(0)
    for r in range(ground_truth.shape[0]):
        for c in range(ground_truth.shape[1]):
            g = np.int64(ground_truth[r, c])
            p = np.int64(prediction[r, c])
            if g == last_g and p == last_p:
                run += _U(1)
                continue
            tables[sub, cell] += np.uint32(run)
            sub = sub + 1 if sub + 1 < subs else 0
            last_g = g
            last_p = p
            row = n if g == ignore_index else (g if 0 <= g < n else n + 1)
            column = p if 0 <= p < n else n
            cell = _U(row * (n + 1) + column)
            run = _U(1)
    tables[sub, cell] += np.uint32(run)


def _map_words(
    raw: NDArray[np.uint64],
    table: NDArray[np.uint8],
    unknown: NDArray[np.uint8],
    out: NDArray[np.uint64],
) -> Any:  # noqa: ANN401 - a uint64
    """Look up uint8 ids, eight to a word, a run of equal words at a time.

    Args:
        raw: (h, w) words of eight ids each, any strides.
        table: (256,) what each id becomes.
        unknown: (256,) 1 for ids that are not known, else 0.
        out: (h, w) words to write to.

    Returns:
        How many ids are not known.
    """
    count: Any = _ZERO
    last = _ZERO
    mapped: Any = _U(table[0]) * _REPEAT
    strange: Any = _U(unknown[0]) * _WORD
    for r in range(_U(raw.shape[0])):
        for c in range(_U(raw.shape[1])):
            word = raw[r, c]
            if word != last:
                last = word
                mapped = _ZERO
                strange = _ZERO
                for i in range(_ZERO, _U(64), _WORD):
                    value = (word >> i) & _BYTE
                    mapped |= _U(table[value]) << i
                    strange += _U(unknown[value])
            out[r, c] = mapped
            count += strange
    return count


def _any_foreign(words: NDArray[np.uint64], num_classes: np.uint8, ignore_index: np.uint8) -> bool:
    """Return whether any uint8 id is neither below `num_classes` nor `ignore_index`.

    Args:
        words: (k,) eight ids each.
        num_classes: n, at most 128.
        ignore_index: the id that is no class and known.
    """
    # In each byte, without carry to the next: the high bit of (b & 127) + 128 - n, or of b itself,
    # says b >= n; that of (b & 127) + 127, or of b, says b != 0.
    offset = (_HIGH_BIT - _U(num_classes)) * _REPEAT
    ignored = _U(ignore_index) * _REPEAT
    foreign = _ZERO
    for i in range(words.shape[0]):
        word = words[i]
        other = word ^ ignored
        foreign |= (((word & _LOW) + offset) | word) & (((other & _LOW) + _LOW) | other)
    return bool(foreign & (_HIGH_BIT * _REPEAT))


@functools.cache
def count_words() -> Callable[..., None]:
    """Return `_count_words` compiled."""
    words, byte = _pixels("uint64"), numba.types.uint8
    return compiled(_count_words, (words, words, byte, byte, _TABLES))


@functools.cache
def count_pixels(ground_truth: str, prediction: str) -> Callable[..., None]:
    """Return `_count_pixels` compiled for two element types, for example ``"uint8", "int32"``."""
    pixels, integer = (_pixels(ground_truth), _pixels(prediction)), numba.types.int64
    return compiled(_count_pixels, (*pixels, integer, integer, _TABLES))


@functools.cache
def map_words() -> Callable[..., int]:
    """Return `_map_words` compiled."""
    table = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)
    out = numba.types.Array(numba.types.uint64, 2, "A", aligned=False)
    return compiled(_map_words, (_pixels("uint64"), table, table, out))


@functools.cache
def any_foreign() -> Callable[..., bool]:
    """Return `_any_foreign` compiled."""
    words = numba.types.Array(numba.types.uint64, 1, "C", readonly=True, aligned=False)
    return compiled(_any_foreign, (words, numba.types.uint8, numba.types.uint8))


def _pixels(element: str) -> Any:  # noqa: ANN401 - numba is untyped
    # Read-only, unaligned and strided: arrays with fewer restrictions convert to it.
    return numba.types.Array(getattr(numba.types, element), 2, "A", readonly=True, aligned=False)


_TABLES = numba.types.Array(numba.types.uint32, 2, "C")
