"""Counts of the frames that two evaluators have both scored, and what is left of the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.comparison.changes import MostChanged, changed_frame
from deeplab_miou.comparison.difference import decide, paired_blocks
from deeplab_miou.comparison.snapshot import Decision
from deeplab_miou.metric.scores import class_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import FrameRecord
    from deeplab_miou.metric.blocks import BlockSums
    from deeplab_miou.metric.scores import AbsentClasses

_NS = 1_000_000_000
# What the other evaluator reported about it cannot be counted.
MALFORMED = "malformed"
_MOST_REASONS = 64


class PairedCounts:
    """Adds up frames of two evaluators with the same classes; one thread.

    Args:
        class_names: of both; empty while they are not known, or differ, and nothing is added up.
        margin: differences within it do not matter.
        absent_classes: as in `compute_scores`.

    Attributes:
        blocks: what both scored, in blocks of time; None without classes.
        frames: frames in them.
        stamp_ns: stamp of the newest of them, 0 before the first.
        changed: those whose mIoU changed most.
        other_ground_truth: frames that they scored on other pixels.
        neither: frames that neither scored.
        only: for each of the two, frames that only it scored, by the reason of the other one.
        decision: None before it is decided.
    """

    def __init__(
        self, class_names: tuple[str, ...], *, margin: float, absent_classes: AbsentClasses
    ) -> None:
        n = len(class_names)
        self.blocks: BlockSums | None = paired_blocks(n) if n else None
        self.frames = 0
        self.stamp_ns = 0
        self.changed = MostChanged()
        self.other_ground_truth = 0
        self.neither = 0
        self.only: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.decision: Decision | None = None
        self._num_classes = n
        self._margin = margin
        self._absent_classes = absent_classes
        self._pixels = 0
        self._decided_second: int | None = None

    def add(self, a: FrameRecord, b: FrameRecord) -> None:
        """Take what the two say of one frame.

        Raises:
            RefusedError: one is malformed, or there is no room for more pixels.
        """
        if a.evaluated and b.evaluated:
            self._add_scored(a, b)
        elif a.evaluated:
            self.add_unpaired(0, a, b.reason)
        elif b.evaluated:
            self.add_unpaired(1, b, a.reason)
        else:
            self.neither += 1

    def add_unpaired(self, which: int, frame: FrameRecord, reason: str) -> None:
        """Add a frame that only one of the two has reported.

        Args:
            which: 0 for A, 1 for B.
            frame: what it reported.
            reason: why the other reported nothing.
        """
        if not frame.evaluated:
            self.neither += 1
            return
        reasons = self.only[which]
        known = reason in reasons or len(reasons) < _MOST_REASONS
        reasons[reason if known else "other"] += 1

    def _add_scored(self, a: FrameRecord, b: FrameRecord) -> None:
        if self.blocks is None:
            return
        matrices = self._matrices(a, b)
        if not np.array_equal(*(each.sum(axis=1) for each in matrices)):
            self.other_ground_truth += 1
            return
        pixels = self._pixels + int(matrices[0].sum())
        if pixels > MAX_SUM:
            raise RefusedError("overflow", f"more than {MAX_SUM} pixels: call reset to start over")
        self._pixels = pixels
        self.frames += 1
        self.stamp_ns = max(self.stamp_ns, a.stamp_ns)
        self.changed.update(changed_frame(a.stamp_ns, *matrices))
        counts = np.stack([class_counts(each) for each in matrices])
        # Frames without labels say nothing: time without them makes no block.
        if counts.any():
            self._decide(self.blocks, a.stamp_ns)
            self.blocks.add([(counts, a.stamp_ns)])

    def _matrices(self, *frames: FrameRecord) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the counts of a frame by A and by B.

        Raises:
            RefusedError: one is malformed; the frame is then counted as the other's only.
        """
        found: list[NDArray[np.int64] | None] = []
        error = None
        for frame in frames:
            try:
                found.append(frame.matrix(self._num_classes))
            except RefusedError as refused:
                error = refused
                found.append(None)
        a, b = found
        if a is not None and b is not None:
            return a, b
        if a is None and b is None:
            self.neither += 1
        else:
            self.add_unpaired(0 if b is None else 1, frames[0], MALFORMED)
        raise error or RefusedError("malformed", "its counts cannot be read")

    def _decide(self, blocks: BlockSums, stamp_ns: int) -> None:
        """Decide, once a second of the stream, by the frames before it."""
        if self.decision is not None or self._decided_second == stamp_ns // _NS:
            return
        self._decided_second = stamp_ns // _NS
        verdict = decide(blocks.read(), margin=self._margin, absent_classes=self._absent_classes)
        if verdict != "no evidence":
            self.decision = Decision(verdict, stamp_ns, self.frames - 1)
