"""What the outcomes of frames tell beyond the sums: window, intervals, the worst frames."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from deeplab_miou.metric.accumulator import Accumulator
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.worst_frames import WorstFrames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import FrameRecord, RunKey
    from deeplab_miou.metric.accumulator import AccumulatorSnapshot

_MAX_EARLY_FRAMES = 256


class FrameStatistics:
    """Window, bootstrap and worst frames of all evaluators together.

    Window and bootstrap do not exist before classes are known. Not thread-safe, but `bootstrap` is.

    Args:
        window_frames: length of the window in frames; None for no limit by frames.
        window_seconds: length of the window in seconds of stamps; None for no limit by time.
        block_s: length of the bootstrap's blocks, seconds.

    Attributes:
        bootstrap: computes the intervals; None before classes are known.
        worst: the frames with the lowest mIoU.
    """

    def __init__(
        self, window_frames: int | None, window_seconds: float | None, block_s: float
    ) -> None:
        self._window_frames = window_frames
        self._window_seconds = window_seconds
        self._block_s = block_s
        self._num_classes = 0
        self._window: Accumulator | None = None
        self.bootstrap: BlockBootstrap | None = None
        self.worst: WorstFrames[None] = WorstFrames()

    def expect(self, num_classes: int) -> None:
        """Take frames of so many classes from now on; what had another number is forgotten."""
        if num_classes == self._num_classes:
            return
        self._num_classes = num_classes
        self._window = Accumulator(
            num_classes, window_frames=self._window_frames, window_seconds=self._window_seconds
        )
        self.bootstrap = BlockBootstrap(num_classes, block_s=self._block_s)
        self.worst.reset()

    def update(self, matrix: NDArray[np.int64], stamp_ns: int, source: str) -> None:
        """Add the confusion matrix of a frame that an evaluator scored."""
        if self._window is not None and self.bootstrap is not None:
            self._window.update(matrix, stamp_ns)
            self.bootstrap.update(matrix, stamp_ns)
            self.worst.update(matrix, stamp_ns, None, source)

    def window(self) -> AccumulatorSnapshot | None:
        """Return the window's counts; None before classes are known."""
        return None if self._window is None else self._window.snapshot()

    def clear(self) -> None:
        """Forget all frames."""
        if self._window is not None and self.bootstrap is not None:
            self._window.reset()
            self.bootstrap.reset()
            self.worst.reset()


class EarlyFrames:
    """Frames that overtook the first state of their run: the newest are held for it."""

    def __init__(self) -> None:
        self._frames: deque[FrameRecord] = deque(maxlen=_MAX_EARLY_FRAMES)

    def hold(self, frame: FrameRecord) -> None:
        """Keep a frame; if there are many, the oldest gives way."""
        self._frames.append(frame)

    def release(self, key: RunKey) -> list[FrameRecord]:
        """Return the frames of a run in the order of their arrival, and hold them no longer."""
        released = [frame for frame in self._frames if frame.key == key]
        for frame in released:
            self._frames.remove(frame)
        return released

    def clear(self) -> None:
        """Hold nothing any longer."""
        self._frames.clear()
