"""Scores of the frames that have a tag in common, such as rain, each over its own spans of time."""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.aggregation.results import Result, Totals, score
from deeplab_miou.metric.blocks import BlockSums, TimeBlocks
from deeplab_miou.metric.bootstrap import IouStatistics, find_intervals
from deeplab_miou.metric.counts import Counts
from deeplab_miou.metric.region_scores import frames_contrast, labelled_in_both
from deeplab_miou.metric.resampling import Resampling
from deeplab_miou.metric.scores import class_counts
from deeplab_miou.tags.timeline import NO_TAG, Tag
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.aggregation.results import Scoring
    from deeplab_miou.metric.bootstrap import Intervals
    from deeplab_miou.metric.region_scores import Contrast
    from deeplab_miou.metric.scores import AbsentClasses
    from deeplab_miou.tags.timeline import Change, TagTimeline

_MAX_BLOCKS = 64
# What waits for a tag that may still come, in frames and in cells of their matrices.
MAX_HELD = 256
_MAX_HELD_CELLS = 2**20
# Frames that are remembered as given away, to tell whether a tag came too late for them.
_MAX_REMEMBERED = 4096
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, eq=False)
class SliceCounts:
    """What was counted in the frames of a slice.

    Attributes:
        matrix: confusion matrix, int64 ``(n, n + 1)``.
        frames: frames in it.
        blocks: blocks of time, or drives, with (k, 2, n) counts of intersection and union.
    """

    matrix: NDArray[np.int64]
    frames: int
    blocks: TimeBlocks


def slice_results(
    slices: Mapping[Tag, SliceCounts], class_names: tuple[str, ...], scoring: Scoring
) -> dict[Tag, Result]:
    """Return the scores of slices, the lowest mIoU first; resampling takes a while."""
    found = {
        tag: Result(
            Totals(class_names, Counts(each.matrix, each.frames)),
            score(each.matrix, scoring),
            _intervals(each, scoring.absent_classes),
        )
        for tag, each in slices.items()
    }
    return dict(sorted(found.items(), key=lambda item: (_miou(item[1]), item[0])))


def slice_contrasts(
    slices: Mapping[Tag, SliceCounts], whole: TimeBlocks, matrix: NDArray[np.int64]
) -> dict[Tag, Contrast]:
    """Compare the frames of each slice with all others; resampling takes a while.

    Args:
        slices: what was counted in each.
        whole: blocks with (k, 2, n) counts of all frames.
        matrix: confusion matrix of all frames, int64 ``(n, n + 1)``.
    """
    return {
        tag: frames_contrast(whole, each.blocks, labelled_in_both(matrix, each.matrix))
        for tag, each in slices.items()
        if len(each.blocks) and tag.name != NO_TAG
    }


def _miou(result: Result) -> float:
    return result.scores.miou if np.isfinite(result.scores.miou) else 2.0


def _intervals(counts: SliceCounts, absent_classes: AbsentClasses) -> Intervals:
    statistics = IouStatistics(np.ones(len(counts.matrix)), absent_classes)
    return find_intervals(counts.blocks, statistics, Resampling())


@dataclass(frozen=True, eq=False)
class SliceSummary:
    """All slices of a stream at one instant.

    Attributes:
        slices: by tag.
        whole: blocks of all frames.
        doubts: what makes it doubtful which frames are whose, a line each.
        changes: of tags, ascending by time.
    """

    slices: Mapping[Tag, SliceCounts]
    whole: TimeBlocks
    doubts: tuple[str, ...]
    changes: tuple[Change, ...]


class _Frame(NamedTuple):
    """A frame's matrix, its intersection and union by class, whether these say anything, stamp."""

    matrix: NDArray[np.int64]
    overlaps: NDArray[np.int64]
    is_labelled: bool
    stamp_ns: int


class _Sums:
    """Sums over frames, and their blocks of time."""

    def __init__(self, num_classes: int, block_s: float) -> None:
        self._matrix = np.zeros((num_classes, num_classes + 1), np.int64)
        self._frames = 0
        self._blocks = BlockSums((2, num_classes), block_s=block_s, max_blocks=_MAX_BLOCKS)

    def add(self, frame: _Frame) -> None:
        self._matrix += frame.matrix
        self._frames += 1
        # Frames without a labelled pixel say nothing of time.
        if frame.is_labelled:
            self._blocks.add([(frame.overlaps, frame.stamp_ns)])

    def counts(self) -> SliceCounts:
        return SliceCounts(self._matrix.copy(), self._frames, self._blocks.read())


class _Slices:
    """The slices of some frames.

    Frames that came before the first tag of a key have none of it: their sums are known by then.
    """

    def __init__(self, num_classes: int, block_s: float) -> None:
        self._make: Callable[[], _Sums] = partial(_Sums, num_classes, block_s)
        self._whole = self._make()
        self._sums: dict[Tag, _Sums] = {}
        self._keys: set[str] = set()

    def add(self, frame: _Frame, timeline: TagTimeline) -> None:
        self.follow(timeline)
        self._whole.add(frame)
        for tag in timeline.tags(frame.stamp_ns):
            if tag not in self._sums:
                self._sums[tag] = self._make()
            self._sums[tag].add(frame)

    def follow(self, timeline: TagTimeline) -> None:
        """Begin with the keys that are new."""
        for key in timeline.keys:
            if key not in self._keys:
                self._keys.add(key)
                self._sums[Tag(key, NO_TAG)] = deepcopy(self._whole)

    def counts(self) -> tuple[dict[Tag, SliceCounts], TimeBlocks]:
        """Return all slices that have frames, and the blocks of all frames."""
        whole = self._whole.counts()
        found = {tag: each.counts() for tag, each in self._sums.items()}
        if not self._keys:
            found[Tag("", NO_TAG)] = whole
        return {tag: each for tag, each in found.items() if each.frames}, whole.blocks


class SliceStatistics:
    """Adds frames up by the tags that are in force at their stamps; not thread-safe.

    A frame that came before its tag waits for it among the newest frames. What is held depends on
    frames, stamps and tags, not on the order in which they come, as long as no tag comes later than
    that; `SliceSummary.doubts` says if one did.

    Args:
        num_classes: n, at least 1.
        timeline: the tags; call `changed` after adding tags to it later.
        block_s: length of the blocks of time to start with, seconds.
        is_complete: no tag will be added.
    """

    def __init__(
        self, num_classes: int, timeline: TagTimeline, *, block_s: float, is_complete: bool
    ) -> None:
        cells = num_classes * (num_classes + 1)
        self._timeline = timeline
        self._most_held = 0 if is_complete else max(min(MAX_HELD, _MAX_HELD_CELLS // cells), 1)
        self._make: Callable[[], _Slices] = partial(_Slices, num_classes, block_s)
        self.clear()

    def clear(self) -> None:
        """Forget all frames; tags stay."""
        self._settled = self._make()
        self._held: deque[_Frame] = deque()
        self._remembered: deque[int] = deque(maxlen=_MAX_REMEMBERED)
        self._too_late = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    def add(self, matrices: NDArray[np.int64], stamps_ns: Sequence[int]) -> None:
        """Add frames.

        Args:
            matrices: (k, n, n + 1) int64, their counts; kept.
            stamps_ns: k stamps, nanoseconds.
        """
        first_ns = min(stamps_ns)
        self._first_ns = first_ns if self._first_ns is None else min(self._first_ns, first_ns)
        self._last_ns = max(self._last_ns, *stamps_ns)
        overlaps = class_counts(matrices)
        is_labelled: list[bool] = np.any(overlaps[:, 1], axis=1).tolist()
        self._held.extend(map(_Frame, matrices, overlaps, is_labelled, stamps_ns))
        while len(self._held) > self._most_held:
            oldest = self._held.popleft()
            self._settled.add(oldest, self._timeline)
            self._remembered.append(oldest.stamp_ns)

    def changed(self, key: str, stamp_ns: int) -> None:
        """Take note that a tag of a key is in force from a moment on, which was not known."""
        until_ns = self._timeline.until_ns(key, stamp_ns)
        self._too_late += sum(
            stamp_ns <= each and (until_ns is None or each < until_ns) for each in self._remembered
        )

    def read(self) -> SliceSummary:
        """Return all slices so far."""
        slices = deepcopy(self._settled) if self._held else self._settled
        slices.follow(self._timeline)
        for frame in self._held:
            slices.add(frame, self._timeline)
        counts, whole = slices.counts()
        return SliceSummary(counts, whole, self.doubts, tuple(self._timeline.changes()))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes it doubtful which frames are whose, a line each."""
        doubts = [*self._timeline.doubts]
        if self._too_late:
            doubts.append(
                f"{plural(self._too_late, 'frame')} counted before the tag of that time arrived: "
                "in the slice of the previous tag"
            )
        changes = self._timeline.changes()
        if self._first_ns is None:
            return tuple(doubts)
        if not changes:
            doubts.append("there are no tags: all frames are in one slice")
        elif (
            changes[0].start_ns - self._last_ns > _DAY_NS
            or self._first_ns - changes[-1].start_ns > _DAY_NS
        ):
            doubts.append(
                f"tags are from {_second(changes[0].start_ns)} to {_second(changes[-1].start_ns)}, "
                f"frames from {_second(self._first_ns)} to {_second(self._last_ns)}: do both use "
                "the same clock?"
            )
        return tuple(doubts)


def _second(stamp_ns: int) -> str:
    return f"{stamp_ns / 1e9:.3f}" if stamp_ns < 2**62 else "the end"
