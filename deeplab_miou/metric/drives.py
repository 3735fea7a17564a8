"""Counts of many drives, for intervals: resamples drives, or blocks of time within them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.blocks import BlockSums, TimeBlocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# What differs from drive to drive, such as weather, is only seen by resampling drives; fewer than
# this cannot show how much they vary.
MIN_DRIVES = 16
# Blocks of one drive lie this far from the next one's, in blocks: no pairing ever joins two drives,
# though the stamps of all may begin at 0.
_APART = 1 << 50


class DriveSums:
    """Sums over drives, in memory that grows by one frame's counts with each drive; one thread.

    Args:
        shape: of the counts of one frame.
        block_s: length of the blocks of time to start with, seconds, while there are few drives.
        max_blocks: most blocks of time to hold, at least 16.
    """

    def __init__(
        self, shape: tuple[int, ...], *, block_s: float = 1.0, max_blocks: int = 64
    ) -> None:
        self._shape = shape
        self._apart_ns = _APART * round(block_s * 1_000_000_000)
        self._within = BlockSums(shape, block_s=block_s, max_blocks=max_blocks)
        self._drives: list[NDArray[np.int64]] = []

    def add(
        self,
        counts: NDArray[np.int64],
        stamps_ns: NDArray[np.int64],
        *,
        number: int | None = None,
    ) -> None:
        """Add a drive.

        Frames without labels do not count: neither unlabelled time nor an unlabelled drive makes a
        block.

        Args:
            counts: (k, ...) int64 of its frames.
            stamps_ns: (k,) int64.
            number: of the drive, so that blocks of several sums compare; counted here by default.
        """
        labelled = counts.any(axis=tuple(range(1, counts.ndim)))
        if not labelled.any():
            return
        if len(self._drives) < MIN_DRIVES:
            begin_ns = self._begin_ns(number)
            stamps = (begin_ns + stamp for stamp in stamps_ns[labelled].tolist())
            self._within.add(zip(counts[labelled], stamps, strict=True))
        self._drives.append(counts.sum(axis=0))

    def add_cells(self, frames: Iterable[tuple[NDArray[np.int64], NDArray[np.int64], int]]) -> None:
        """Add a drive of whose counts most are zero.

        Args:
            frames: as of `BlockSums.add_cells`, those with labels.
        """
        drive = np.zeros(self._shape, np.int64)
        begin_ns = self._begin_ns()
        blocks = []
        for cells, counts, stamp_ns in frames:
            drive.reshape(-1)[cells] += counts
            blocks.append((cells, counts, begin_ns + stamp_ns))
        if not blocks:
            return
        if len(self._drives) < MIN_DRIVES:
            self._within.add_cells(blocks)
        self._drives.append(drive)

    @property
    def are_enough(self) -> bool:
        """Whether drives are resampled, not blocks of time."""
        return len(self._drives) >= MIN_DRIVES

    def read(self) -> TimeBlocks:
        """Return what to resample: drives where there are 16 or more, else blocks of time."""
        if not self.are_enough:
            return self._within.read()
        return whole_drives(self._drives)

    def _begin_ns(self, number: int | None = None) -> int:
        """Return what is added to a drive's stamps, so that it shares no block with another."""
        return (len(self._drives) if number is None else number) * self._apart_ns


def whole_drives(counts: Sequence[NDArray[np.int64]]) -> TimeBlocks:
    """Return drives as what is resampled.

    Args:
        counts: of each drive, at least one.
    """
    keys = np.arange(len(counts), dtype=np.int64)
    return TimeBlocks(0, keys, np.array(counts), are_drives=True)
