"""Staging memory that batches pass through on their way to a device and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.gpu.accelerator import Accelerator, Mark

    Array = NDArray[np.uint8]

# Devices like what they read to begin at such addresses.
_ALIGNMENT = 256


class Slot:
    """Staging memory for one batch; it grows with the largest batch and is used over and over.

    Args:
        accelerator: copies to and from the device.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._host = self._results = accelerator.host_memory(0)
        self._device = torch.empty(0, dtype=torch.uint8, device=accelerator.device)
        self._uploaded: Mark | None = None
        self._read: Mark | None = None
        self._last: Results | None = None

    def upload(self, groups: Sequence[Sequence[Array]]) -> list[Tensor]:
        """Begin to copy arrays to the device; work queued from now on finds them there.

        Args:
            groups: uint8 arrays, those of a group of one shape; each group has one at least.

        Returns:
            A tensor ``(len(group), *shape)`` for each group, good until the next upload.
        """
        self.finish()
        ends = []
        size = 0
        for group in groups:
            size += len(group) * group[0].size
            ends.append(size)
            size = -(-size // _ALIGNMENT) * _ALIGNMENT
        if self._uploaded is not None:
            self._uploaded.synchronize()
        if size > self._host.numel():
            # Both or none, should one of them not fit.
            self._host, self._device = (
                self._accelerator.host_memory(size),
                torch.empty(size, dtype=torch.uint8, device=self._accelerator.device),
            )
            # New memory may be what work still under way has just given back.
            self._read = None
        tensors = []
        for group, end in zip(groups, ends, strict=True):
            part = slice(end - len(group) * group[0].size, end)
            shape = (len(group), *group[0].shape)
            for target, array in zip(self._host[part].numpy().reshape(shape), group, strict=True):
                np.copyto(target, array)
            tensors.append(self._device[part].view(shape))
        self._uploaded = self._accelerator.upload(
            self._device[:size], self._host[:size], after=self._read
        )
        # Until the batch is complete nobody knows when the device has read it.
        self._read = None
        return tensors

    def download(self, tensors: Sequence[Tensor]) -> Results:
        """Begin to copy results to the host, behind the work queued so far; the batch is complete.

        Args:
            tensors: contiguous; those of larger items first.
        """
        flat = [tensor.view(-1).view(torch.uint8) for tensor in tensors]
        size = sum(part.numel() for part in flat)
        if size > self._results.numel():
            self._results = self._accelerator.host_memory(size)
        arrays, start = [], 0
        for tensor, part in zip(tensors, flat, strict=True):
            target = self._results[start : start + part.numel()]
            self._accelerator.download(target, part)
            arrays.append(target.view(tensor.dtype).view(tensor.shape).numpy())
            start += part.numel()
        self._read = self._accelerator.mark()
        self._last = Results(self._read, arrays)
        return self._last

    @property
    def busy(self) -> bool:
        """Whether results of the last batch are still on their way."""
        return self._last is not None and not self._last.taken

    def finish(self) -> None:
        """Wait for the last batch and keep its results apart from the slot's memory."""
        if self._last is not None:
            self._last.take()
            self._last = None


class Results:
    """Arrays on their way to the host.

    Args:
        mark: reached when they are there.
        arrays: where they arrive.
    """

    def __init__(self, mark: Mark, arrays: list[NDArray[Any]]) -> None:
        self._mark = mark
        self._arrays = arrays
        self.taken = False

    def done(self) -> bool:
        """Return whether `take` would not wait."""
        return self.taken or self._mark.query()

    def take(self) -> list[NDArray[Any]]:
        """Wait, and return the arrays; they are the caller's own."""
        if not self.taken:
            self._mark.synchronize()
            self._arrays = [array.copy() for array in self._arrays]
            self.taken = True
        return self._arrays
