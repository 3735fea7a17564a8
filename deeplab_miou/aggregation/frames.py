"""What frame outcomes add to the totals: window, intervals, the worst frames."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np

from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.aggregation.results import Result, Totals, score
from deeplab_miou.metric.accumulator import Accumulator
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.stamp_offsets import OffsetTally
from deeplab_miou.metric.worst_frames import Evidence, Evidence_co, WorstFrame, WorstFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import FrameRecord, RunKey
    from deeplab_miou.aggregation.results import Scoring
    from deeplab_miou.metric.accumulator import AccumulatorSnapshot

_MAX_EARLY_FRAMES = 256
_MAX_EARLY_BYTES = 2**25
# Frames are added up in bulk, of at most so many frames and cells.
_MAX_PENDING = 64
_MAX_PENDING_CELLS = 2**19


@dataclass(frozen=True, eq=False)
class FrameSummary(Generic[Evidence_co]):
    """What the frames of a stream add to its totals, at one instant.

    Attributes:
        bootstrap: computes intervals and the course over time.
        window: the window's counts; all frames' where it has no limits.
        worst: the frames with the lowest mIoU, worst first.
        offsets: of the stamps of labels from those of their images.
    """

    bootstrap: BlockBootstrap
    window: AccumulatorSnapshot
    worst: tuple[WorstFrame[Evidence_co], ...]
    offsets: OffsetTally

    def result(self, totals: Totals, scoring: Scoring) -> Result:
        """Return the scores of all that was counted; resampling takes a while.

        Args:
            totals: all that was counted.
            scoring: how scores are computed.
        """
        # The interval is that of mIoU: no weights.
        absent_classes = scoring.absent_classes
        return Result(
            totals,
            score(totals.counts.matrix, scoring),
            self.bootstrap.intervals(absent_classes=absent_classes),
            timeline=self.bootstrap.timeline(absent_classes=absent_classes),
            worst=self.worst,
            offsets=self.offsets.offsets(),
        )

    def window_result(self, totals: Totals, scoring: Scoring) -> Result:
        """Return the scores of the window; arguments as those of `result`."""
        counts, end_ns = self.window.window or self.window.counts, self.window.window_end_ns
        recent = Totals(
            totals.class_names,
            counts,
            missing_frames=totals.missing_frames,
            stamp_ns=totals.stamp_ns if end_ns is None else end_ns,
            sources=totals.sources,
        )
        start_ns = self.window.window_start_ns
        return Result(recent, score(counts.matrix, scoring), start_ns=start_ns)


class FrameStatistics(Generic[Evidence]):
    """Window, intervals, course over time and worst frames of a stream, live and offline.

    What it holds depends on the frames and their stamps, not on the order in which they come.
    Frames are put aside and added up when there are some, or when somebody asks. Not thread-safe,
    but what `read` returns is.

    Args:
        num_classes: n.
        window_frames: length of the window in frames; None for no limit by frames.
        window_seconds: length of the window in seconds of stamps; None for no limit by time.
        block_s: length of the bootstrap's blocks to start with, seconds.
        most_pending: frames to put aside, with their evidence.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        window_frames: int | None = None,
        window_seconds: float | None = None,
        block_s: float = 1.0,
        most_pending: int = _MAX_PENDING,
    ) -> None:
        cells = num_classes * (num_classes + 1)
        self._most_pending = max(min(most_pending, _MAX_PENDING_CELLS // cells), 1)
        self._pending: list[tuple[NDArray[np.int64], int, str, Evidence]] = []
        self._pixels = 0
        self._window = Accumulator(
            num_classes, window_frames=window_frames, window_seconds=window_seconds
        )
        self._bootstrap = BlockBootstrap(num_classes, block_s=block_s)
        self._worst: WorstFrames[Evidence] = WorstFrames()
        self._offsets = OffsetTally()

    def add(
        self,
        matrix: NDArray[np.int64],
        stamp_ns: int,
        evidence: Evidence,
        source: str = "",
        *,
        offset_ns: int = 0,
    ) -> None:
        """Add a frame that was scored.

        Args:
            matrix: its confusion matrix, ``(n, n + 1)``; kept.
            stamp_ns: its stamp, nanoseconds.
            evidence: what to keep with it while it is among the worst.
            source: which evaluator scored it; empty where there is one only.
            offset_ns: the stamp of its label less that of its image, nanoseconds.

        Raises:
            RefusedError: the sums would become too large.
        """
        pixels = self._pixels + int(matrix.sum())
        if pixels > MAX_SUM:
            raise RefusedError(
                "overflow",
                f"frame of {source!r} refused: all frames together count more than {MAX_SUM} "
                "pixels; call reset to start over",
            )
        self._pixels = pixels
        self._offsets.add(offset_ns)
        self._pending.append((matrix, stamp_ns, source, evidence))
        if len(self._pending) >= self._most_pending:
            self._settle()

    def read(self) -> FrameSummary[Evidence]:
        """Return all that the frames amount to so far."""
        self._settle()
        window, worst = self._window.snapshot(), self._worst.frames()
        return FrameSummary(self._bootstrap, window, worst, self._offsets.copy())

    def clear(self) -> None:
        """Forget all frames."""
        self._pending = []
        self._pixels = 0
        self._window.reset()
        self._bootstrap.reset()
        self._worst.reset()
        self._offsets = OffsetTally()

    def _settle(self) -> None:
        if not self._pending:
            return
        frames, self._pending = self._pending, []
        matrices = np.stack([matrix for matrix, *_ in frames])
        stamps_ns = [stamp_ns for _, stamp_ns, *_ in frames]
        for matrix, stamp_ns in zip(matrices, stamps_ns, strict=True):
            self._window.update(matrix, stamp_ns)
        self._bootstrap.update(matrices, stamps_ns)
        for index in self._worst.candidates(matrices):
            matrix, stamp_ns, source, evidence = frames[index]
            self._worst.update(matrix, stamp_ns, evidence, source)


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
