"""The running confusion matrix of a stream and of its most recent window."""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.counts import Counts, as_stacks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NS = 1_000_000_000
# Time went back, and no frame is merely late, when this many in a row are this far behind.
_JUMP_FRAMES = 10
_JUMP_NS = 10 * _NS
# Bounds a window of seconds where time stands still; an hour at 30 Hz fits.
_MOST_FRAMES = 2**17
_MAX_UINT32 = 2**32 - 1


@dataclass(frozen=True, eq=False)
class WindowedCounts:
    """The counts of all frames and of those in the window, at one instant; the arrays are copies.

    Attributes:
        counts: of all frames.
        window: of the frames in the window, or None without one.
        window_start_ns: oldest stamp in the window in nanoseconds, or None while it is empty.
        window_end_ns: newest stamp in the window in nanoseconds, or None while it is empty.
    """

    counts: Counts
    window: Counts | None
    window_start_ns: int | None
    window_end_ns: int | None


class Accumulator:
    """Thread-safe sum of per-frame matrices, over the stream and over a window of stamp time.

    The window holds the ``window_frames`` frames of the newest stamps, or the frames whose stamp
    is less than ``window_seconds`` older than the newest; with both, a frame must meet both. It
    depends on the stamps alone, not on the order in which frames arrive: a late frame enters if it
    belongs there. Of equal stamps the frame that came later is the newer. Only when ten frames in a
    row are more than ten seconds behind the newest, time has gone back (a bag that loops, or one
    stamp far in the future before), and the window starts again with the tenth.

    A frame costs O(n^2). The window's frames are held as their non-zero cells, 2^17 at most.

    Args:
        num_classes: n, at least 1.
        regions: how many regions each frame has, see `Counts`.
        window_frames: length of the window in frames, None for no such limit.
        window_seconds: length of the window in seconds of stamp time, None for no such limit.

    Raises:
        ValueError: a length is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        regions: int = 0,
        window_frames: int | None = None,
        window_seconds: float | None = None,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, but got {num_classes}")
        if window_frames is not None and window_frames < 1:
            raise ValueError(f"window_frames must be at least 1, but got {window_frames}")
        if window_seconds is not None and not window_seconds > 0:
            raise ValueError(f"window_seconds must be positive, but got {window_seconds}")
        self._shape = (1 + regions, num_classes, num_classes + 1)
        self._window_frames = window_frames
        self._window_ns = None if window_seconds is None else round(window_seconds * _NS)
        self._lock = threading.Lock()
        self._clear()

    def update(self, matrix: NDArray[np.int64], stamp_ns: int | Sequence[int]) -> None:
        """Add one frame or several.

        Args:
            matrix: (n, n + 1) or (k, n, n + 1) int64 counts of each frame; with regions (k, 1 + r,
                n, n + 1), each as `Counts.stack`; not kept, the caller may use it again.
            stamp_ns: the stamp, or the k stamps, in nanoseconds and any order.

        Raises:
            ValueError: the matrix has another shape or type, or there are not as many stamps.
        """
        matrices = as_stacks(matrix, self._shape)
        stamps = [stamp_ns] if isinstance(stamp_ns, int) else stamp_ns
        if len(stamps) != len(matrices):
            raise ValueError(f"{len(matrices)} frames must have as many stamps, not {len(stamps)}")
        frames = _sparse(matrices) if self._windowed else []
        with self._lock:
            self._matrix += matrices.sum(axis=0)
            self._frames += len(matrices)
            for frame, stamp in zip(frames, stamps, strict=False):
                self._enter(frame, stamp)

    def snapshot(self) -> WindowedCounts:
        """Return copies of everything at one instant."""
        with self._lock:
            return WindowedCounts(
                counts=Counts.of_stack(self._matrix.copy(), self._frames),
                window=Counts.of_stack(self._window.copy(), len(self._stamps))
                if self._windowed
                else None,
                window_start_ns=self._stamps[0] if self._stamps else None,
                window_end_ns=self._stamps[-1] if self._stamps else None,
            )

    def reset(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._clear()

    @property
    def _windowed(self) -> bool:
        return self._window_frames is not None or self._window_ns is not None

    def _clear(self) -> None:
        self._matrix = np.zeros(self._shape, np.int64)
        self._frames = 0
        self._start_window()

    def _start_window(self) -> None:
        self._window = np.zeros(self._shape, np.int64)
        # Both ascending by stamp; stamps arrive nearly so, and then this is an append.
        self._stamps: list[int] = []
        self._ring: list[_Frame] = []
        self._behind = 0

    def _enter(self, frame: _Frame, stamp_ns: int) -> None:
        late = bool(self._stamps) and stamp_ns < self._stamps[-1] - _JUMP_NS
        self._behind = self._behind + 1 if late else 0
        if self._behind == _JUMP_FRAMES:
            self._start_window()
        place = bisect.bisect_right(self._stamps, stamp_ns)
        self._stamps.insert(place, stamp_ns)
        self._ring.insert(place, frame)
        flat = self._window.reshape(-1)
        flat[frame.cells] += frame.counts
        leaving = max(len(self._stamps) - (self._window_frames or _MOST_FRAMES), 0)
        if self._window_ns is not None:
            oldest = self._stamps[-1] - self._window_ns
            leaving = max(leaving, bisect.bisect_right(self._stamps, oldest))
        for gone in self._ring[:leaving]:
            flat[gone.cells] -= gone.counts
        del self._stamps[:leaving], self._ring[:leaving]


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One frame of the window: flat cell indices and their counts."""

    cells: NDArray[np.uint32]
    counts: NDArray[np.uint32] | NDArray[np.int64]


def _sparse(matrices: NDArray[np.int64]) -> list[_Frame]:
    """Return the non-zero cells of each of k frames, views of arrays that they share."""
    flat = matrices.reshape(len(matrices), -1)
    rows, cells = np.nonzero(flat)
    counts: NDArray[np.int64] = flat[rows, cells]
    # Half the memory for all frames but those of 2^32 equal pixels.
    is_small = not counts.size or (counts.min() >= 0 and counts.max() <= _MAX_UINT32)
    small, held = cells.astype(np.uint32), counts.astype(np.uint32) if is_small else counts
    ends = np.searchsorted(rows, np.arange(len(flat)), side="right").tolist()
    return [
        _Frame(small[start:end], held[start:end])
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
