"""The compiled loops behind the confusion matrix, and where their machine code is cached.

The loops are plain Python that Numba compiles for one explicit signature each. Compilation is
cached on disk in the first writable of ``NUMBA_CACHE_DIR``, the package's own ``__pycache__``, the
user's cache directory and a private directory under the temporary one; with none of them the
loops are compiled once a process. A file lock makes processes that start together compile once.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: two processes may compile the same twice
    fcntl = None  # type: ignore[assignment]

# Unsigned everywhere: a signed index costs Numba a wrap-around test, and mixing both gives floats.
_U = np.uint64
_ZERO, _ONE, _WORD, _LAST_BYTE, _BYTE = _U(0), _U(1), _U(8), _U(56), _U(255)
_HELD = 256  # words put aside: far enough that the stores are through before they are loaded again

_lock = threading.Lock()
_compiled: dict[tuple[str, ...], Callable[..., None]] = {}


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


def count_words() -> Callable[..., None]:
    """Return `_count_words` compiled."""
    return _get(_count_words, ("uint64", "uint64"))


def count_pixels(ground_truth: str, prediction: str) -> Callable[..., None]:
    """Return `_count_pixels` compiled for two element types, for example ``"uint8", "int32"``."""
    return _get(_count_pixels, (ground_truth, prediction))


def _get(function: Callable[..., None], elements: tuple[str, str]) -> Callable[..., None]:
    key = (function.__name__, *elements)
    compiled = _compiled.get(key)
    if compiled is None:
        with _lock:
            compiled = _compiled.get(key)
            if compiled is None:
                compiled = _compiled[key] = _compile(function, elements)
    return compiled


def _signature(function: Callable[..., None], elements: tuple[str, str]) -> tuple[Any, ...]:
    # Read-only, unaligned and strided: arrays with fewer restrictions convert to it.
    pixels = [
        numba.types.Array(getattr(numba.types, element), 2, "A", readonly=True, aligned=False)
        for element in elements
    ]
    tables = numba.types.Array(numba.types.uint32, 2, "C")
    if function is _count_words:
        return (*pixels, numba.types.uint8, numba.types.uint8, tables)
    return (*pixels, numba.types.int64, numba.types.int64, tables)


def _compile(function: Callable[..., None], elements: tuple[str, str]) -> Callable[..., None]:
    """Compile or load one signature; a damaged cache is cleared and an unusable one is left out."""
    signature = _signature(function, elements)
    for _ in range(2):
        dispatcher = _cached_dispatcher(function)
        if dispatcher is None:
            break
        directory = Path(dispatcher.stats.cache_path)
        try:
            with _locked(directory):
                dispatcher.compile(signature)
        except Exception:  # noqa: BLE001 - unpickling a truncated file raises almost anything
            _clear(directory)
            continue
        dispatcher.disable_compile()
        return dispatcher  # type: ignore[no-any-return]
    dispatcher = numba.njit(nogil=True)(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher  # type: ignore[no-any-return]


def _cached_dispatcher(function: Callable[..., None]) -> Any:  # noqa: ANN401 - numba is untyped
    """Return a caching dispatcher, or None where no directory can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # "no locator available": neither the package nor HOME is writable
        directory = _private_directory()
    if directory is None:
        return None
    configured = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory)
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return None
    finally:
        numba.config.CACHE_DIR = configured


def _private_directory() -> Path | None:
    """Return a directory of ours alone: whoever writes the cache decides what code runs here."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    directory = Path(tempfile.gettempdir()) / f"deeplab_miou_cache_{user}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return None
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or shared or found.st_uid != user:
        return None
    return directory


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the cache's file lock; Numba itself numbers its files without one."""
    if fcntl is None:  # pragma: no cover
        yield
        return
    try:
        descriptor = os.open(directory / "deeplab_miou.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks: as without fcntl
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(directory: Path) -> None:
    for path in (*directory.glob("kernels.*.nbi"), *directory.glob("kernels.*.nbc")):
        with contextlib.suppress(OSError):
            path.unlink()
