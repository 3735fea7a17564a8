"""What frame outcomes add to the totals: window, intervals, the worst frames."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.metric.accumulator import Accumulator
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.worst_frames import WorstFrame, WorstFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import FrameRecord, RunKey
    from deeplab_miou.metric.accumulator import AccumulatorSnapshot

_MAX_EARLY_FRAMES = 256
_MAX_EARLY_BYTES = 2**25
# Frames are added up in bulk, of at most so many frames and cells.
_MAX_PENDING = 64
_MAX_PENDING_CELLS = 2**19


class FrameStatistics:
    """Window, bootstrap and worst frames of all evaluators together.

    Window and bootstrap do not exist before classes are known. Frames are put aside and added up
    when there are some, or when somebody asks. Not thread-safe, but what `bootstrap` returns is.

    Args:
        window_frames: length of the window in frames; None for no limit by frames.
        window_seconds: length of the window in seconds of stamps; None for no limit by time.
        block_s: length of the bootstrap's blocks, seconds.
    """

    def __init__(
        self, window_frames: int | None, window_seconds: float | None, block_s: float
    ) -> None:
        self._window_frames = window_frames
        self._window_seconds = window_seconds
        self._block_s = block_s
        self._num_classes = 0
        self._window: Accumulator | None = None
        self._bootstrap: BlockBootstrap | None = None
        self._worst: WorstFrames[None] = WorstFrames()
        self._pending: list[tuple[NDArray[np.int64], int, str]] = []
        self._most_pending = 0
        self._pixels = 0

    def expect(self, num_classes: int) -> None:
        """Take frames of so many classes from now on; what had another number is forgotten."""
        if num_classes == self._num_classes:
            return
        self._num_classes = num_classes
        cells = num_classes * (num_classes + 1)
        self._most_pending = max(min(_MAX_PENDING, _MAX_PENDING_CELLS // cells), 1)
        self._pending = []
        self._pixels = 0
        self._window = Accumulator(
            num_classes, window_frames=self._window_frames, window_seconds=self._window_seconds
        )
        self._bootstrap = BlockBootstrap(num_classes, block_s=self._block_s)
        self._worst.reset()

    def update(self, matrix: NDArray[np.int64], stamp_ns: int, source: str) -> None:
        """Add the confusion matrix of a frame that an evaluator scored.

        Raises:
            RefusedError: the sums would become too large.
        """
        if self._window is None:
            return
        pixels = self._pixels + int(matrix.sum())
        if pixels > MAX_SUM:
            raise RefusedError(
                "overflow",
                f"frame of {source!r} refused: all frames together count more than {MAX_SUM} "
                "pixels; call reset to start over",
            )
        self._pixels = pixels
        self._pending.append((matrix, stamp_ns, source))
        if len(self._pending) >= self._most_pending:
            self._settle()

    def window(self) -> AccumulatorSnapshot | None:
        """Return the window's counts; None before classes are known."""
        self._settle()
        return None if self._window is None else self._window.snapshot()

    def bootstrap(self) -> BlockBootstrap | None:
        """Return what computes the intervals; None before classes are known."""
        self._settle()
        return self._bootstrap

    def worst(self) -> tuple[WorstFrame[None], ...]:
        """Return the frames with the lowest mIoU."""
        self._settle()
        return self._worst.frames()

    def clear(self) -> None:
        """Forget all frames."""
        self._pending = []
        self._pixels = 0
        if self._window is not None and self._bootstrap is not None:
            self._window.reset()
            self._bootstrap.reset()
            self._worst.reset()

    def _settle(self) -> None:
        if not self._pending or self._window is None or self._bootstrap is None:
            return
        frames, self._pending = self._pending, []
        matrices = np.stack([matrix for matrix, _, _ in frames])
        for matrix, stamp_ns, _ in frames:
            self._window.update(matrix, stamp_ns)
        self._bootstrap.update(matrices, [stamp_ns for _, stamp_ns, _ in frames])
        for index in self._worst.candidates(matrices):
            matrix, stamp_ns, source = frames[index]
            self._worst.update(matrix, stamp_ns, None, source)


class EarlyFrames:
    """Frames that overtook the first state of their run: the newest are held for it."""

    def __init__(self) -> None:
        self._frames: deque[FrameRecord] = deque()
        self._bytes = 0

    def hold(self, frame: FrameRecord) -> None:
        """Keep a frame; if there are too many or they are too large, drop the oldest."""
        self._frames.append(frame)
        self._bytes += frame.nbytes
        while len(self._frames) > _MAX_EARLY_FRAMES or self._bytes > _MAX_EARLY_BYTES:
            self._bytes -= self._frames.popleft().nbytes

    def release(self, key: RunKey) -> list[FrameRecord]:
        """Return the frames of a run in the order of their arrival, and hold them no longer."""
        released = [frame for frame in self._frames if frame.key == key]
        for frame in released:
            self._frames.remove(frame)
            self._bytes -= frame.nbytes
        return released

    def clear(self) -> None:
        """Hold nothing any longer."""
        self._frames.clear()
        self._bytes = 0
