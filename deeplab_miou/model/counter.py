"""One confusion matrix in a device's memory, of which copies reach the host without a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from deeplab_miou.model.counting import (
    MAX_CLASSES,
    add_counts,
    cells,
    find_method,
    pick_method,
    to_matrix,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.resampling import Size


class DeviceCounter:
    """Counts frames into one matrix in a device's memory.

    Calls come from one thread and, on a GPU, with one current stream. `add` and `peek` never wait
    for the device.

    Args:
        num_classes: n, 1 to 255.
        ignore_index: ground truth id that counts nowhere; it wins over a class of the same id.
        device: where logits and ground truth are.
        every: frames between two copies to the host; they run on a stream of their own.
        fused: whether the kernel counts; None where it works, checked here against the fallback.

    Attributes:
        num_classes: as given.
        ignore_index: as given.
        device: as given.
        frames: how many were added since the last reset.

    Raises:
        ValueError: `num_classes` or `every` is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_index: int = 255,
        device: torch.device | str = "cpu",
        every: int = 30,
        fused: bool | None = None,
    ) -> None:
        if not 1 <= num_classes <= MAX_CLASSES:
            raise ValueError(f"num_classes must be 1 to {MAX_CLASSES}, but got {num_classes}")
        if every < 1:
            raise ValueError(f"every must be at least 1, but got {every}")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.device = torch.device(device)
        self.frames = 0
        self._every = every
        self._method = (
            pick_method(self.device, num_classes) if fused is None else find_method(fused=fused)
        )
        # A tensor made in inference mode could not be added to outside.
        with torch.inference_mode(mode=False):
            self._table = torch.zeros(cells(num_classes), dtype=torch.int64, device=self.device)
            self._snapshot = _Snapshot(self._table)

    def add(
        self,
        logits: Tensor,
        ground_truth: Tensor,
        *,
        align_corners: bool = False,
        covered: Size | None = None,
        labels: Tensor | None = None,
    ) -> None:
        """Count frames.

        Args:
            logits: coarse logits ``(N, channels, h, w)`` on the device, any float type, any
                strides; channels from n on are invalid predictions.
            ground_truth: train ids ``(N, H, W)`` uint8 on the device, any strides.
            align_corners: convention of the resampling from ``(h, w)`` to ``(H, W)``.
            covered: size that the logits are stretched to, of which the first (H, W) are kept
                (``resize: crop``); None for (H, W).
            labels: ``(N, H, W)`` uint8, contiguous, on the device, to write the predicted ids to.

        Raises:
            ValueError: a shape or type is not as above.
        """
        before = self.frames
        add_counts(
            logits,
            ground_truth,
            self._table.expand(len(logits), -1),
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
            align_corners=align_corners,
            covered=covered,
            labels=labels,
            method=self._method,
        )
        self.frames += len(logits)
        if before // self._every != self.frames // self._every:
            self._snapshot.start(self.frames)

    def peek(self) -> tuple[NDArray[np.int64], int]:
        """Return the newest copied matrix ``(n, n + 1)`` int64 and its number of frames.

        Raises:
            ValueError: as `read`.
        """
        table, frames = self._snapshot.newest()
        return to_matrix(table, self.num_classes, self.ignore_index), frames

    def read(self) -> NDArray[np.int64]:
        """Return the matrix ``(n, n + 1)`` int64 of all frames added; waits for them.

        Raises:
            ValueError: since the last reset, ground truth had ids that are neither below n nor the
                ignore index.
        """
        self._snapshot.start(self.frames)
        self._snapshot.wait()
        return self.peek()[0]

    def reset(self) -> None:
        """Start from zero."""
        self._table.zero_()
        self.frames = 0
        self._snapshot.clear()


class _Snapshot:
    """A copy of a device's table on the host, made beside the device's other work.

    Args:
        table: ``(c,)`` int64.
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table
        self._staged = torch.empty_like(table)
        self._cuda = table.device.type == "cuda"
        self._host = torch.zeros(table.shape, dtype=torch.int64, pin_memory=self._cuda)
        self._newest: tuple[NDArray[np.int64], int] = (np.zeros(table.shape, np.int64), 0)
        self._underway: int | None = None
        if self._cuda:
            self._stream = torch.cuda.Stream(table.device)  # type: ignore[no-untyped-call]
            self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def start(self, frames: int) -> None:
        """Copy the table as it is after all that was queued so far."""
        if not self._cuda:
            self._newest = (self._table.numpy().copy(), frames)
            return
        self._collect()
        # The table goes on growing while it is copied: what is copied is a copy on the device.
        own = torch.cuda.current_stream(self._table.device)
        own.wait_event(self._copied)
        self._staged.copy_(self._table)
        self._stream.wait_stream(own)
        with torch.cuda.stream(self._stream):
            self._host.copy_(self._staged, non_blocking=True)
            self._copied.record(self._stream)
        self._underway = frames

    def wait(self) -> None:
        """Wait for the copy under way."""
        if self._underway is not None:
            self._copied.synchronize()

    def newest(self) -> tuple[NDArray[np.int64], int]:
        """Return the last copy that arrived, and its number of frames."""
        self._collect()
        return self._newest

    def clear(self) -> None:
        """Forget every copy, also one under way."""
        self._underway = None
        self._newest = (np.zeros(self._table.shape, np.int64), 0)

    def _collect(self) -> None:
        if self._underway is not None and self._copied.query():  # type: ignore[no-untyped-call]
            self._newest = (self._host.numpy().copy(), self._underway)
            self._underway = None
