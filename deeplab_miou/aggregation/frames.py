"""What frame outcomes add to the totals: window, intervals, the worst frames."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Generic

import numpy as np

from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.aggregation.results import Deferred, Result, Totals, score
from deeplab_miou.aggregation.slices import SliceStatistics, slice_contrasts, slice_results
from deeplab_miou.metric.accumulator import Accumulator
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.image_scores import ImageStatistics
from deeplab_miou.metric.region_scores import contrasts, labelled_in_both
from deeplab_miou.metric.stamp_offsets import OffsetTally
from deeplab_miou.metric.worst_frames import Evidence, Evidence_co, WorstFrame, WorstFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.aggregation.messages import FrameRecord, RunKey
    from deeplab_miou.aggregation.results import Scoring
    from deeplab_miou.aggregation.slices import SliceSummary
    from deeplab_miou.metric.accumulator import WindowedCounts
    from deeplab_miou.metric.counts import Axes, Counts
    from deeplab_miou.tags.timeline import TagTimeline

_MAX_EARLY_FRAMES = 256
_MAX_EARLY_BYTES = 2**25
# Frames are added up in bulk, of at most so many frames and cells.
_MAX_PENDING = 64
_MAX_PENDING_CELLS = 2**19
# Each comes with its pictures: not many, as there may be many regions.
_MOST_WORST_OF_REGION = 2


@dataclass(frozen=True, eq=False)
class FrameSummary(Generic[Evidence_co]):
    """What the frames of a stream add to its totals, at one instant.

    Attributes:
        bootstrap: computes intervals and the course over time.
        window: the window's counts; all frames' where it has no limits.
        worst: the frames with the lowest mIoU, worst first.
        worst_of_regions: likewise for each region.
        offsets: of the stamps of labels from those of their images.
        images: means over frames.
        slices: frames by their tags; None where there are no tags.
    """

    bootstrap: BlockBootstrap
    window: WindowedCounts
    worst: tuple[WorstFrame[Evidence_co], ...]
    worst_of_regions: Sequence[tuple[WorstFrame[Evidence_co], ...]]
    offsets: OffsetTally
    images: ImageStatistics
    slices: SliceSummary | None = None

    def result(self, totals: Totals, scoring: Scoring) -> Result:
        """Return the scores of all that was counted; resampling takes a while.

        Args:
            totals: all that was counted.
            scoring: how scores are computed.
        """
        regions = {
            name: self._result(totals.region(name), scoring, index)
            for index, name in enumerate(totals.region_names)
        }
        matrix = totals.counts.matrix
        comparable = {
            name: labelled_in_both(matrix, each.totals.counts.matrix)
            for name, each in regions.items()
        }
        result = replace(
            self._result(totals, scoring),
            regions=regions,
            contrasts=Deferred(partial(contrasts, self.bootstrap.read(), comparable)),
            image_scores=self.images.scores(),
        )
        if self.slices is None:
            return result
        return replace(
            result,
            slices=slice_results(self.slices.slices, totals.class_names, scoring),
            slice_contrasts=Deferred(
                partial(slice_contrasts, self.slices.slices, self.slices.whole, matrix)
            ),
            tag_doubts=self.slices.doubts,
            tag_changes=self.slices.changes,
        )

    def _result(self, totals: Totals, scoring: Scoring, region: int | None = None) -> Result:
        # The interval is that of mIoU: no weights.
        absent_classes = scoring.absent_classes
        return Result(
            totals,
            score(totals.counts.matrix, scoring),
            self.bootstrap.intervals(region=region, absent_classes=absent_classes),
            timeline=self.bootstrap.timeline(region=region, absent_classes=absent_classes),
            worst=self.worst if region is None else self.worst_of_regions[region],
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
            region_names=totals.region_names,
        )
        whole, *regions = (
            Result(each, score(each.counts.matrix, scoring), start_ns=self.window.window_start_ns)
            for each in (recent, *map(recent.region, recent.region_names))
        )
        return replace(whole, regions=dict(zip(recent.region_names, regions, strict=True)))


class FrameStatistics(Generic[Evidence]):
    """Window, intervals, course over time and worst frames of a stream, live and offline.

    Each of its regions has them too. What it holds depends on the frames and their stamps, not on
    the order in which they come. Frames are put aside and added up when there are some, or when
    somebody asks. Not thread-safe, but what `read` returns is.

    Args:
        axes: classes and regions.
        window_frames: length of the window in frames; None for no limit by frames.
        window_seconds: length of the window in seconds of stamps; None for no limit by time.
        block_s: length of the bootstrap's blocks to start with, seconds.
        most_pending: frames to put aside, with their evidence.
        tags: frames are also added up separately by these; None for no tags.
        tags_are_complete: no tags will be added.
    """

    def __init__(
        self,
        axes: Axes,
        *,
        window_frames: int | None = None,
        window_seconds: float | None = None,
        block_s: float = 1.0,
        most_pending: int = _MAX_PENDING,
        tags: TagTimeline | None = None,
        tags_are_complete: bool = False,
    ) -> None:
        num_classes, regions = len(axes.classes), len(axes.regions)
        cells = (1 + regions) * num_classes * (num_classes + 1)
        self._most_pending = max(min(most_pending, _MAX_PENDING_CELLS // cells), 1)
        self._pending: list[tuple[Counts, int, str, Evidence]] = []
        self._pixels = 0
        self._window = Accumulator(
            num_classes,
            regions=regions,
            window_frames=window_frames,
            window_seconds=window_seconds,
        )
        self._bootstrap = BlockBootstrap(num_classes, regions=regions, block_s=block_s)
        self._images = ImageStatistics(num_classes, block_s=block_s)
        self._slices = None
        if tags is not None:
            self._slices = SliceStatistics(
                num_classes, tags, block_s=block_s, is_complete=tags_are_complete
            )
        # Of the whole frames, then of each region.
        self._offsets = OffsetTally()
        self._worst: list[WorstFrames[Evidence]] = [
            WorstFrames(),
            *(WorstFrames(_MOST_WORST_OF_REGION) for _ in range(regions)),
        ]

    def add(
        self,
        counts: Counts,
        stamp_ns: int,
        evidence: Evidence,
        source: str = "",
        *,
        offset_ns: int = 0,
    ) -> None:
        """Add a frame that was scored.

        Args:
            counts: what was counted in it; kept.
            stamp_ns: its stamp, nanoseconds.
            evidence: what to keep with it while it is among the worst.
            source: which evaluator scored it; empty where there is one only.
            offset_ns: the stamp of its label less that of its image, nanoseconds.

        Raises:
            RefusedError: the sums would become too large.
        """
        pixels = self._pixels + counts.pixels
        if pixels > MAX_SUM:
            raise RefusedError(
                "overflow",
                f"frame of {source!r} refused: all frames together count more than {MAX_SUM} "
                "pixels; call reset to start over",
            )
        self._pixels = pixels
        self._offsets.add(offset_ns)
        self._pending.append((counts, stamp_ns, source, evidence))
        if len(self._pending) >= self._most_pending:
            self._settle()

    def read(self) -> FrameSummary[Evidence]:
        """Return all that the frames amount to so far."""
        self._settle()
        window = self._window.snapshot()
        worst, *worst_of_regions = (each.frames() for each in self._worst)
        return FrameSummary(
            self._bootstrap,
            window,
            worst,
            worst_of_regions,
            self._offsets.copy(),
            self._images,
            None if self._slices is None else self._slices.read(),
        )

    @property
    def tag_doubts(self) -> tuple[str, ...]:
        """What makes it doubtful which frames have which tag, a line each."""
        return () if self._slices is None else self._slices.doubts

    def tag_changed(self, key: str, stamp_ns: int) -> None:
        """Take note that a tag of a key is in force from a moment on, which was not known."""
        if self._slices is not None:
            self._slices.changed(key, stamp_ns)

    def clear(self) -> None:
        """Forget all frames."""
        self._pending = []
        self._pixels = 0
        self._window.reset()
        self._bootstrap.reset()
        self._images.reset()
        if self._slices is not None:
            self._slices.clear()
        for worst in self._worst:
            worst.reset()
        self._offsets = OffsetTally()

    def _settle(self) -> None:
        if not self._pending:
            return
        frames, self._pending = self._pending, []
        stacks = np.stack([counts.stack for counts, *_ in frames])
        stamps_ns = [stamp_ns for _, stamp_ns, *_ in frames]
        self._window.update(stacks, stamps_ns)
        self._bootstrap.update(stacks, stamps_ns)
        self._images.update(stacks[:, 0], stamps_ns)
        if self._slices is not None:
            # A copy where there are regions, which need not be held.
            self._slices.add(np.ascontiguousarray(stacks[:, 0]), stamps_ns)
        for worst, matrices in zip(self._worst, stacks.swapaxes(0, 1), strict=True):
            for index in worst.candidates(matrices):
                _, stamp_ns, source, evidence = frames[index]
                worst.update(matrices[index], stamp_ns, evidence, source)


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
