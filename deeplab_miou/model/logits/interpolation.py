"""How coarse logits are interpolated at the size of the labels, as tables on a device."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deeplab_miou.model.logits.upsampling import make_axis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    Size = tuple[int, int]

# Rows that one program of the kernel takes at most.
_MAX_BLOCK_ROWS = 4


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Bilinear interpolation along both axes, as tables on a device.

    Attributes:
        host_tops: ``(H,)`` int64 on the host, the row of logits above each output row.
        tops: the same on the device.
        row_shares: ``(H,)`` float32, the share of the row of logits below.
        lefts: ``(W,)`` int32, the column of logits on the left of each output column.
        column_shares: ``(W,)`` float32, the share of the column on the right.
        blocks: ``(b, 3)`` int32, output rows in groups that lie between the same two rows of
            logits: first row, number of rows, row of logits above.
        block_rows: rows that a block has at most, a power of two.
    """

    host_tops: NDArray[np.int64]
    tops: Tensor
    row_shares: Tensor
    lefts: Tensor
    column_shares: Tensor
    blocks: Tensor
    block_rows: int


@functools.lru_cache(maxsize=16)
def make_interpolation(
    inputs: Size,
    outputs: Size,
    device: torch.device,
    *,
    align_corners: bool,
    stretched_size: Size | None = None,
) -> Interpolation:
    """Return the interpolation by PyTorch's rule; the first call for a size copies to the device.

    Args:
        inputs: (h, w) of the logits.
        outputs: (H, W) of the labels.
        device: where it is used.
        align_corners: whether the outermost logits lie on the outermost pixels' centres.
        stretched_size: what the logits are stretched to, of which the first (H, W) are kept; None
            for ``outputs``.
    """
    stretched = stretched_size or outputs
    rows, columns = (
        make_axis(inputs[k], stretched[k], align_corners=align_corners, kept=outputs[k])
        for k in range(2)
    )
    tops, lefts = _lower(rows.starts), _lower(columns.starts)
    most = int(np.diff(rows.starts).max(initial=1))
    block_rows = min(1 << (most - 1).bit_length(), _MAX_BLOCK_ROWS)
    return Interpolation(
        host_tops=tops,
        tops=_upload(tops, device),
        row_shares=_upload(rows.weights, device),
        lefts=_upload(lefts.astype(np.int32), device),
        column_shares=_upload(columns.weights, device),
        blocks=_upload(_blocks(rows.starts, block_rows), device),
        block_rows=block_rows,
    )


def in_bands(
    logits: Tensor, interpolation: Interpolation, most: int
) -> Iterator[tuple[slice, Tensor]]:
    """Yield interpolated logits in bands of rows, without waiting for the device.

    Args:
        logits: of one image, ``(channels, h, w)``, any float type.
        interpolation: from ``(h, w)`` to ``(H, W)``.
        most: values that a band has at most, but that it has a row at least.

    Yields:
        Which rows, and their logits ``(channels, rows, W)`` float32.
    """
    channels, height, width = logits.shape
    tops, lefts = interpolation.tops, interpolation.lefts.long()
    band = max(most // max(channels * len(lefts), 1), 1)
    rights = (lefts + 1).clamp_(max=width - 1)
    right, down = interpolation.column_shares, interpolation.row_shares[:, None]
    bottoms = (tops + 1).clamp_(max=height - 1)
    for start in range(0, len(tops), band):
        rows = slice(start, min(start + band, len(tops)))
        lowest = int(interpolation.host_tops[start])
        coarse = logits[:, lowest : int(interpolation.host_tops[rows.stop - 1]) + 2].float()
        wide = (1 - right) * coarse[..., lefts] + right * coarse[..., rights]
        above, below = wide[:, tops[rows] - lowest], wide[:, bottoms[rows] - lowest]
        yield rows, (1 - down[rows]) * above + down[rows] * below


def _upload(table: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(table.copy()).to(device)


def _lower(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which input lies at or before each output."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _blocks(starts: NDArray[np.int64], most: int) -> NDArray[np.int32]:
    blocks = [
        (first, min(most, starts[row + 1] - first), row)
        for row in range(len(starts) - 1)
        for first in range(starts[row], starts[row + 1], most)
    ]
    return np.array(blocks, np.int32).reshape(-1, 3)
