"""Coarse logits and ground truth to counts in one Triton kernel: nothing of image size is written.

A program takes a few output rows that lie between the same two rows of logits, and a run of
columns. It interpolates horizontally once a column and vertically once a pixel, keeps the best
class in registers, and counts its pixels. Neighbouring pixels mostly fall into few cells of the
matrix, which would all wait for each other's atomic addition; so the cells of randomly picked
pixels are summed within the program first, and only what is left after a few of them is added
column by column. Everything is added as int64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.logits.interpolation import Interpolation

_COLUMNS = 128
_PEELS = 6
_WARPS = 4
# A pixel's key is its rank, then its cell: a cell of up to 255 classes takes 17 bits.
_CELL_BITS = tl.constexpr(17)
_CELL_MASK = tl.constexpr((1 << 17) - 1)
_NO_KEY = tl.constexpr(1 << 30)


@triton.jit  # type: ignore[untyped-decorator]
def interpolate_argmax(  # type: ignore[no-untyped-def] # noqa: ANN201, PLR0917
    upper,  # noqa: ANN001 - address of a row of logits
    lower,  # noqa: ANN001 - address of the next
    left,  # noqa: ANN001 - (COLUMNS,) offsets into both
    right,  # noqa: ANN001
    to_right,  # noqa: ANN001 - (COLUMNS,) float32, the share of `right`
    down,  # noqa: ANN001 - (ROWS,) float32, the share of `lower`
    stride,  # noqa: ANN001 - between channels
    CHANNELS: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
):
    """Return the best class of each pixel between two rows of logits, int32 ``(ROWS, COLUMNS)``."""
    to_left = 1.0 - to_right
    down = down[:, None]
    up = 1.0 - down
    best = tl.full((ROWS, COLUMNS), float("-inf"), tl.float32)
    winner = tl.zeros((ROWS, COLUMNS), tl.int32)
    for channel in range(CHANNELS):
        top = to_left * tl.load(upper + left).to(tl.float32)
        top += to_right * tl.load(upper + right).to(tl.float32)
        bottom = to_left * tl.load(lower + left).to(tl.float32)
        bottom += to_right * tl.load(lower + right).to(tl.float32)
        value = up * top[None, :] + down * bottom[None, :]
        # As in PyTorch: the first of equals, and the first that is not a number before all others.
        better = (best == best) & ((value <= best) == 0)  # noqa: PLR0124
        best = tl.where(better, value, best)
        winner = tl.where(better, channel, winner)
        upper += stride
        lower += stride
    return winner


@triton.jit  # type: ignore[untyped-decorator]
def add_cells(  # type: ignore[no-untyped-def] # noqa: ANN201, PLR0917
    table,  # noqa: ANN001
    cell,  # noqa: ANN001 - (ROWS, COLUMNS) int32
    counted,  # noqa: ANN001 - (ROWS, COLUMNS), which pixels count
    ROWS: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    PEELS: tl.constexpr,  # noqa: N803
):
    """Add one to the table for each pixel."""
    i = tl.arange(0, ROWS)
    j = tl.arange(0, COLUMNS)
    # An odd factor permutes the ranks, so that the cells summed first come from all over the block.
    rank = (i[:, None] * COLUMNS + j[None, :]) * 197 % (ROWS * COLUMNS)
    key = tl.where(counted, (rank << _CELL_BITS) + cell, _NO_KEY)
    least = tl.min(key)
    peeled = 0
    while (least < _NO_KEY) & (peeled < PEELS):
        common = least & _CELL_MASK
        same = (cell == common) & (key < _NO_KEY)
        total = tl.sum(same.to(tl.int32))
        tl.atomic_add(table + common, total.to(tl.int64), sem="relaxed")
        key = tl.where(same, _NO_KEY, key)
        least = tl.min(key)
        peeled += 1
    if least < _NO_KEY:
        rest = key < _NO_KEY
        head = tl.min(tl.where(rest, i[:, None], ROWS), axis=0)
        common = tl.max(tl.where(i[:, None] == head[None, :], cell, -1), axis=0)
        same = rest & (cell == common[None, :])
        total = tl.sum(same.to(tl.int32), axis=0)
        tl.atomic_add(table + common, total.to(tl.int64), mask=total > 0, sem="relaxed")
        ones = tl.full((ROWS, COLUMNS), 1, tl.int64)
        tl.atomic_add(table + cell, ones, mask=rest & (cell != common[None, :]), sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator]
def count_kernel(  # type: ignore[no-untyped-def] # noqa: ANN201, PLR0917
    logits,  # noqa: ANN001 - of any float type, (N, CHANNELS, height, width)
    truth,  # noqa: ANN001 - uint8 (N, rows, columns)
    tables,  # noqa: ANN001 - int64 (N, num_classes * (num_classes + 1) + 1)
    labels,  # noqa: ANN001 - uint8 (N, rows, columns), contiguous; not touched without LABELS
    blocks,  # noqa: ANN001 - int32 (programs, 3): first output row, how many, row of logits above
    row_shares,  # noqa: ANN001 - float32 (rows,), the share of the row of logits below
    lefts,  # noqa: ANN001 - int32 (columns,), the column of logits on the left
    column_shares,  # noqa: ANN001 - float32 (columns,), the share of the one on the right
    height,  # noqa: ANN001
    width,  # noqa: ANN001
    rows,  # noqa: ANN001
    columns,  # noqa: ANN001
    logits_n,  # noqa: ANN001 - strides from here on
    logits_c,  # noqa: ANN001
    logits_h,  # noqa: ANN001
    logits_w,  # noqa: ANN001
    truth_n,  # noqa: ANN001
    truth_h,  # noqa: ANN001
    truth_w,  # noqa: ANN001
    tables_n,  # noqa: ANN001
    num_classes,  # noqa: ANN001
    ignore_index,  # noqa: ANN001
    CHANNELS: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    COLUMNS: tl.constexpr,  # noqa: N803
    PEELS: tl.constexpr,  # noqa: N803
    LABELS: tl.constexpr,  # noqa: N803
):
    """Count the pixels of one block of output rows and one run of columns of one image."""
    image = tl.program_id(2).to(tl.int64)
    block = blocks + 3 * tl.program_id(1)
    first = tl.load(block)
    above = tl.load(block + 2)
    below = tl.minimum(above + 1, height - 1)
    i = tl.arange(0, ROWS)
    j = tl.arange(0, COLUMNS)
    y = first + i
    x = tl.program_id(0) * COLUMNS + j
    row_used = i < tl.load(block + 1)
    column_used = x < columns
    used = row_used[:, None] & column_used[None, :]

    # Columns beyond the image read the first logit, which is there, and are not counted.
    left = tl.load(lefts + x, mask=column_used, other=0)
    right = tl.minimum(left + 1, width - 1) * logits_w
    left *= logits_w
    winner = interpolate_argmax(
        logits + image * logits_n + above.to(tl.int64) * logits_h,
        logits + image * logits_n + below.to(tl.int64) * logits_h,
        left,
        right,
        tl.load(column_shares + x, mask=column_used, other=0.0),
        tl.load(row_shares + y, mask=row_used, other=0.0),
        logits_c,
        CHANNELS,
        ROWS,
        COLUMNS,
    )

    if LABELS:
        place = (image * rows + y[:, None]) * columns + x[None, :]
        tl.store(labels + place, winner.to(tl.uint8), mask=used)

    place = image * truth_n + y[:, None].to(tl.int64) * truth_h + x[None, :] * truth_w
    g = tl.load(truth + place, mask=used, other=0).to(tl.int32)
    cell = g * (num_classes + 1) + tl.minimum(winner, num_classes)
    # The spare cell takes ground truth that is not a class.
    cell = tl.where(g < num_classes, cell, num_classes * (num_classes + 1))
    counted = used & (g != ignore_index)
    add_cells(tables + image * tables_n, cell, counted, ROWS, COLUMNS, PEELS)


def count_fused(
    logits: Tensor,
    ground_truth: Tensor,
    tables: Tensor,
    labels: Tensor | None,
    *,
    num_classes: int,
    ignore_index: int,
    interpolation: Interpolation,
) -> None:
    """Add the counts of images to tables; starts one kernel and does not wait.

    Args:
        logits: ``(N, channels, h, w)``, any float type, any strides.
        ground_truth: ``(N, H, W)`` uint8, any strides.
        tables: ``(N, n * (n + 1) + 1)`` int64, rows contiguous; the last cell takes ground truth
            ids that are no class. Rows may be the same memory.
        labels: ``(N, H, W)`` uint8, contiguous, to write the argmax to; None for not.
        num_classes: n; channels from n on are invalid predictions.
        ignore_index: ground truth id that counts nowhere.
        interpolation: from ``(h, w)`` to ``(H, W)``.
    """
    images, channels, height, width = logits.shape
    _, rows, columns = ground_truth.shape
    grid = (triton.cdiv(columns, _COLUMNS), len(interpolation.blocks), images)
    # Triton starts kernels on the current device, whatever device the tensors are on.
    with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
        count_kernel[grid](
            logits,
            ground_truth,
            tables,
            tables if labels is None else labels,
            interpolation.blocks,
            interpolation.row_shares,
            interpolation.lefts,
            interpolation.column_shares,
            height,
            width,
            rows,
            columns,
            *logits.stride(),
            *ground_truth.stride(),
            tables.stride(0),
            num_classes,
            ignore_index,
            CHANNELS=channels,
            ROWS=interpolation.block_rows,
            COLUMNS=_COLUMNS,
            PEELS=_PEELS,
            LABELS=labels is not None,
            num_warps=_WARPS,
        )
