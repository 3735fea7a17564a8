"""Confusion matrices of label maps: exact counts at memory speed.

A matrix is int64 of shape (n, n + 1): rows are ground truth classes, columns predicted classes,
and the last column holds invalid predictions (id negative or not below n). A pixel whose ground
truth is the ignore index counts nowhere.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

IGNORE_INDEX = 255
_TYPES = ("uint8", "uint16", "int32", "int64")
_TABLES = 2
_WORD = 8
_MAX_WORD_CLASSES = 254
_MAX_BYTE = 255
_ID_DTYPES = {np.dtype(name): name for name in _TYPES}
_MAX_COUNT = 2**63 - 1
# The kernels count in uint32: a pass must stay below 2^32 pixels.
_MAX_PASS = 2**31


def confusion_matrix(
    ground_truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    out: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Count every pair of ground truth and predicted class.

    Nothing of the size of the images is allocated, and the interpreter lock is released while
    counting, so that threads count in parallel.

    Args:
        ground_truth: class ids of any shape, uint8, uint16, int32 or int64, any strides.
        prediction: class ids of the same shape, any of the same types; negative ids and ids from
            ``num_classes`` on are invalid predictions and go into the last column.
        num_classes: n, the number of classes, at least 1.
        ignore_index: ground truth id that counts nowhere; it wins over a class of the same id.
        out: (n, n + 1) int64 matrix to add to; a new one by default.

    Returns:
        (n, n + 1) int64, rows ground truth, columns prediction; ``out`` where it was given.

    Raises:
        ValueError: the shapes differ, a type is not an integer type listed above, or the ground
            truth has an id that is neither below ``num_classes`` nor ``ignore_index``. ``out`` is
            unchanged then.
    """
    ground_truth = np.asarray(ground_truth)
    prediction = np.asarray(prediction)
    _validate(ground_truth, prediction, num_classes, out)
    n = num_classes
    tables = np.zeros((_TABLES, (n + 2) * (n + 1)), np.uint32)
    counts: int | NDArray[np.int64] = 0
    pending = 0
    for rows in _passes(ground_truth, prediction):
        if pending + rows[0].size > _MAX_PASS:
            counts = counts + _sum(tables)
            tables[:] = 0
            pending = 0
        _count(*rows, n, ignore_index, tables)
        pending += rows[0].size
    matrix = (counts + _sum(tables)).reshape(n + 2, n + 1)
    if matrix[n + 1].any():
        raise ValueError(_foreign_ids(ground_truth, n, ignore_index))
    if out is None:
        return matrix[:n].copy()
    out += matrix[:n]
    return out


def warm_up(num_classes: int = 19) -> None:
    """Compile, or load from the cache, what reading and counting uint8 label maps needs.

    Args:
        num_classes: number of classes to count with; the machine code is the same for all.
    """
    from deeplab_miou.metric import kernels  # noqa: PLC0415

    kernels.map_words()
    kernels.any_foreign()
    # Eleven columns: one word of eight pixels and three single ones. A strided view takes the rest.
    ids = np.zeros((2, 22), np.uint8)
    confusion_matrix(ids[:, :11], ids[:, :11], num_classes)
    confusion_matrix(ids[:, ::2], ids[:, ::2], num_classes)


def to_cells(matrix: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return the non-zero cells of a matrix, for messages and for sparse storage.

    Args:
        matrix: (..., n, n + 1) int64 counts.

    Returns:
        Row-major indices ``g * (n + 1) + p`` as ascending uint32, and their counts as uint64.
    """
    flat = matrix.reshape(-1)
    (cells,) = flat.nonzero()
    return cells.astype(np.uint32), flat[cells].astype(np.uint64)


def from_cells(
    cells: ArrayLike, counts: ArrayLike, num_classes: int, *leading: int
) -> NDArray[np.int64]:
    """Return the matrix of cells that `to_cells` gave; a cell given twice adds up.

    Args:
        cells: (k,) row-major indices ``g * (n + 1) + p``.
        counts: (k,) counts, not negative.
        num_classes: n.
        leading: lengths of leading axes, for several matrices.

    Returns:
        (..., n, n + 1) int64.

    Raises:
        ValueError: the lengths differ, an index lies outside the matrix, or a count is negative or
            does not fit int64.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, but got {num_classes}")
    index = _integers("cells", cells)
    value = _integers("counts", counts)
    if index.size != value.size:
        raise ValueError(
            f"cells and counts must have the same length, but got {index.size} and {value.size}"
        )
    shape = (*leading, num_classes, num_classes + 1)
    size = math.prod(shape)
    matrix = np.zeros(size, np.int64)
    if not index.size:
        return matrix.reshape(shape)
    for cell in (_least(index), int(index.max())):
        if not 0 <= cell < size:
            raise ValueError(
                f"cells must lie in 0..{size - 1} for {num_classes} classes, but got {cell}"
            )
    least, most = _least(value), int(value.max())
    # Python integers cannot wrap, but are slow: only counts that could need them are so added.
    if least < 0 or (most > _MAX_COUNT // value.size and sum(map(int, value)) > _MAX_COUNT):
        raise ValueError(
            f"counts must be between 0 and {_MAX_COUNT} and so must their sum, "
            f"but got {least} to {most}"
        )
    np.add.at(matrix, index.astype(np.intp), value.astype(np.int64))
    return matrix.reshape(shape)


def _least(values: NDArray[Any]) -> int:
    """Return the least of some integers, or 0 where they are not negative for certain."""
    return 0 if values.dtype.kind == "u" else int(values.min())


def _integers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be a list of integers below 2^64, "
            f"but got {array.dtype} of shape {array.shape}"
        )
    return array


def _validate(
    ground_truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    out: NDArray[np.int64] | None,
) -> None:
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, but got {num_classes}")
    if ground_truth.shape != prediction.shape:
        raise ValueError(
            "ground truth and prediction must have the same shape, "
            f"but got {ground_truth.shape} and {prediction.shape}"
        )
    for name, array in (("ground truth", ground_truth), ("prediction", prediction)):
        if array.dtype not in _ID_DTYPES:
            raise ValueError(f"{name} must be of type {', '.join(_TYPES)}, but got {array.dtype}")
    if out is not None and (out.shape != (num_classes, num_classes + 1) or out.dtype != np.int64):
        raise ValueError(
            f"out must be int64 of shape {(num_classes, num_classes + 1)}, "
            f"but got {out.dtype} of shape {out.shape}"
        )


def _passes(
    ground_truth: NDArray[Any], prediction: NDArray[Any]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Split two arrays of one shape into pairs of (h, w) views of at most `_MAX_PASS` pixels."""
    if ground_truth.ndim > 2:  # noqa: PLR2004 - a batch of images
        for pair in zip(ground_truth, prediction, strict=True):
            yield from _passes(*pair)
        return
    if ground_truth.flags.c_contiguous and prediction.flags.c_contiguous:
        ground_truth, prediction = ground_truth.reshape(1, -1), prediction.reshape(1, -1)
    elif ground_truth.ndim < 2:  # noqa: PLR2004
        ground_truth, prediction = ground_truth[np.newaxis], prediction[np.newaxis]
    elif ground_truth.flags.f_contiguous and prediction.flags.f_contiguous:
        # The order of the pixels is nothing to a count.
        ground_truth, prediction = ground_truth.T.reshape(1, -1), prediction.T.reshape(1, -1)
    height, width = ground_truth.shape
    across = min(max(width, 1), _MAX_PASS)
    down = max(_MAX_PASS // across, 1)
    for top in range(0, height, down):
        for left in range(0, width, across):
            part = np.s_[top : top + down, left : left + across]
            yield ground_truth[part], prediction[part]


def _count(
    ground_truth: NDArray[Any],
    prediction: NDArray[Any],
    num_classes: int,
    ignore_index: int,
    tables: NDArray[np.uint32],
) -> None:
    """Add (h, w) pixels to the tables, row n ignored pixels, row n + 1 foreign ids."""
    # Numba takes half a second to import: only a process that counts pays for it.
    from deeplab_miou.metric import kernels  # noqa: PLC0415

    if (
        ground_truth.dtype == np.uint8
        and prediction.dtype == np.uint8
        and ground_truth.strides[1] == 1
        and prediction.strides[1] == 1
        and num_classes <= _MAX_WORD_CLASSES
        and 0 <= ignore_index <= _MAX_BYTE
    ):
        words = ground_truth.shape[1] // _WORD * _WORD
        if words:
            kernels.count_words()(
                ground_truth[:, :words].view(np.uint64),
                prediction[:, :words].view(np.uint64),
                num_classes,
                ignore_index,
                tables,
            )
            ground_truth, prediction = ground_truth[:, words:], prediction[:, words:]
    if ground_truth.size:
        names = _ID_DTYPES[ground_truth.dtype], _ID_DTYPES[prediction.dtype]
        kernels.count_pixels(*names)(ground_truth, prediction, num_classes, ignore_index, tables)


def _sum(tables: NDArray[np.uint32]) -> NDArray[np.int64]:
    # What one pass counted fits uint32; adding up in int64 would take five times as long.
    total: NDArray[np.uint32] = tables[0] + tables[1]
    return total.astype(np.int64)


def _foreign_ids(ground_truth: NDArray[Any], num_classes: int, ignore_index: int) -> str:
    """Say which ground truth ids are neither classes nor ignored, and how many pixels have them."""
    counts: dict[int, int] = {}
    for row in np.atleast_2d(ground_truth).reshape(-1, ground_truth.shape[-1] or 1):
        foreign = row[((row < 0) | (row >= num_classes)) & (row != ignore_index)]
        for value, count in zip(*np.unique(foreign, return_counts=True), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(count)
    shown = ", ".join(f"{value} ({counts[value]} pixels)" for value in sorted(counts)[:5])
    more = ", ..." if len(counts) > 5 else ""  # noqa: PLR2004
    return (
        f"ground truth must hold ids below {num_classes} or the ignore index {ignore_index}, "
        f"but got {shown}{more}"
    )
