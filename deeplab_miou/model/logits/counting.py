"""Counts confusion matrices where the logits are, so that only counts leave the device.

The labels that are counted are those of `Segmenter.predict`: the argmax of the bilinearly
resampled logits, the first of equals. On a GPU one Triton kernel does it all
(`deeplab_miou.model.logits.fused`); without Triton, PyTorch does it in bands of rows. Neither makes
a tensor of all logits at full size, and neither waits for the device.

Counts are exact. Labels are those of ``F.interpolate`` in float32 and ``argmax`` but for ties: the
order of the additions differs, so that classes whose interpolated logits differ by less than
`TIE` times the largest magnitude may change places. (PyTorch on a GPU also rounds the positions of
pixels in another way, which adds some 1e-7 times the number of logits on an axis.)
"""

from __future__ import annotations

import functools
import importlib
import logging
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from deeplab_miou.model.logits.interpolation import in_bands, make_interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.logits.interpolation import Interpolation, Size

TIE = 1e-6
MAX_CLASSES = 255
_MAX_CHANNELS = 256
# Interpolated logits that the fallback holds at a time.
_BAND = 1 << 22

_logger = logging.getLogger(__name__)


class Method(Protocol):
    """Adds the counts of images to tables, see `logits.fused.count_fused`."""

    def __call__(
        self,
        logits: Tensor,
        ground_truth: Tensor,
        tables: Tensor,
        labels: Tensor | None,
        *,
        num_classes: int,
        ignore_index: int,
        interpolation: Interpolation,
    ) -> None:
        """Count."""


def cells(num_classes: int) -> int:
    """Return the length of a table: a matrix row by row, then ground truth that is not a class."""
    return num_classes * (num_classes + 1) + 1


def to_matrix(
    table: NDArray[np.int64], num_classes: int, ignore_index: int = 255
) -> NDArray[np.int64]:
    """Return the matrix ``(n, n + 1)`` of a table.

    Raises:
        ValueError: ground truth had ids that are neither below n nor the ignore index.
    """
    if table[-1]:
        raise ValueError(
            f"ground truth must hold ids below {num_classes} or the ignore index {ignore_index}, "
            f"but {table[-1]} pixels have others"
        )
    return table[:-1].reshape(num_classes, num_classes + 1).copy()


def add_counts(
    logits: Tensor,
    ground_truth: Tensor,
    tables: Tensor,
    *,
    num_classes: int,
    ignore_index: int = 255,
    align_corners: bool = False,
    stretched_size: Size | None = None,
    labels: Tensor | None = None,
    method: Method | None = None,
) -> None:
    """Add the counts of images to a table each, on the device where all of them are.

    Args:
        logits: coarse logits ``(N, channels, h, w)``, any float type, any strides; channels from n
            on are invalid predictions.
        ground_truth: train ids ``(N, H, W)`` uint8, any strides.
        tables: ``(N, cells(n))`` int64; rows may be the same memory.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
        align_corners: convention of the resampling from ``(h, w)`` to ``(H, W)``.
        stretched_size: size that the logits are stretched to, of which the first (H, W) are kept
            (``resize: crop``); None for (H, W).
        labels: ``(N, H, W)`` uint8, contiguous, to write the predicted ids to; None for not.
        method: from `pick_method`; None for the fallback.

    Raises:
        ValueError: a shape or type is not as above.
    """
    _validate(logits, ground_truth, labels)
    if not ground_truth.numel():
        return
    interpolation = make_interpolation(
        (logits.shape[2], logits.shape[3]),
        (ground_truth.shape[1], ground_truth.shape[2]),
        logits.device,
        align_corners=align_corners,
        stretched_size=stretched_size,
    )
    with torch.no_grad():
        (method or count_in_bands)(
            logits,
            ground_truth,
            tables,
            labels,
            num_classes=num_classes,
            ignore_index=ignore_index,
            interpolation=interpolation,
        )


def count_in_bands(
    logits: Tensor,
    ground_truth: Tensor,
    tables: Tensor,
    labels: Tensor | None,
    *,
    num_classes: int,
    ignore_index: int,
    interpolation: Interpolation,
) -> None:
    """Do what `deeplab_miou.model.logits.fused.count_fused` does, with PyTorch alone."""
    n = num_classes
    for image, table in enumerate(tables):
        for rows, values in in_bands(logits[image], interpolation, _BAND):
            winner = values.argmax(0)
            if labels is not None:
                labels[image, rows] = winner
            truth = ground_truth[image, rows].long()
            cell = truth * (n + 1) + winner.clamp_(max=n)
            cell = torch.where(truth < n, cell, n * (n + 1)).flatten()
            # Adding zero for what is ignored keeps the shapes independent of the data: no waiting.
            table.scatter_add_(0, cell, (truth != ignore_index).long().flatten())


@functools.cache
def pick_method(device: torch.device, num_classes: int) -> Method:
    """Return the fastest way to count that works on a device; waits for it.

    The kernel is taken where Triton is installed, compiles it and counts a probe as PyTorch does.
    """
    if device.type != "cuda":
        return count_in_bands
    try:
        method = find_method(fused=True)
        agrees = _counts_agree(method, device, num_classes)
    except Exception as error:  # noqa: BLE001 - compilers and drivers fail in ways of their own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        _logger.warning("counting without Triton's kernel on %s: %s", device, reason)
        return count_in_bands
    if not agrees:
        _logger.warning("counting without Triton's kernel on %s: its counts are wrong", device)
        return count_in_bands
    return method


def find_method(*, fused: bool) -> Method:
    """Return the kernel or the fallback.

    Raises:
        ImportError: there is no Triton for the kernel.
    """
    if not fused:
        return count_in_bands
    # Imported only where it is used: Triton comes with PyTorch for GPUs alone.
    method: Method = importlib.import_module("deeplab_miou.model.logits.fused").count_fused
    return method


def _counts_agree(method: Method, device: torch.device, num_classes: int) -> bool:
    """Count a probe in both ways; its logits are small integers, so that neither rounds."""
    generator = np.random.default_rng(0)
    order = generator.permuted(np.tile(np.arange(num_classes), (30, 1)), axis=1)
    logits = torch.from_numpy(order.T.reshape(1, num_classes, 5, 6)).to(device, torch.float32)
    truth = torch.from_numpy(generator.integers(0, num_classes, (1, 20, 24), np.uint8)).to(device)
    tables = torch.zeros(2, cells(num_classes), dtype=torch.int64, device=device)
    for table, way in zip(tables, (method, count_in_bands), strict=True):
        add_counts(logits, truth, table[None], num_classes=num_classes, method=way)
    return torch.equal(*tables)


def _validate(logits: Tensor, ground_truth: Tensor, labels: Tensor | None) -> None:
    shape = tuple(logits.shape)
    if logits.ndim != 4 or not logits.is_floating_point() or 0 in shape[1:]:  # noqa: PLR2004
        raise ValueError(f"logits must be floats (N, n, h, w), but got {logits.dtype} {shape}")
    if shape[1] > _MAX_CHANNELS:
        raise ValueError(f"logits must have at most {_MAX_CHANNELS} channels, but got {shape[1]}")
    for name, ids in (("ground truth", ground_truth), ("labels", labels)):
        if ids is None:
            continue
        expected = (len(logits), *ground_truth.shape[1:])
        if ids.ndim != 3 or ids.dtype != torch.uint8 or ids.shape != expected:  # noqa: PLR2004
            raise ValueError(
                f"{name} must be uint8 ({len(logits)}, H, W), one map an image, "
                f"but got {ids.dtype} {tuple(ids.shape)}"
            )
        if ids.device != logits.device:
            raise ValueError(f"{name} must be on {logits.device}, but is on {ids.device}")
    if labels is not None and not labels.is_contiguous():
        raise ValueError("labels must be contiguous, but got a strided view")
