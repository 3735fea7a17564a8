"""Slices of several bags, added up from the report and the table of frames of each."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.aggregation.slices import SliceCounts, slice_contrasts, slice_results
from deeplab_miou.metric.drives import DriveSums, whole_drives
from deeplab_miou.tags.timeline import MOST_TAGS, NO_TAG, OTHER_TAGS, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from deeplab_miou.aggregation.results import Result, Scoring
    from deeplab_miou.metric.region_scores import Contrast
    from deeplab_miou.report.frame_table import FrameTable
    from deeplab_miou.report.stored import StoredReport
    from deeplab_miou.tags.timeline import TagTimeline


class _Slice:
    """What all bags together have of a slice."""

    def __init__(self, num_classes: int, block_s: float) -> None:
        self.matrix = np.zeros((num_classes, num_classes + 1), np.int64)
        self.frames = 0
        self.sums = DriveSums((2, num_classes), block_s=block_s)
        # Intersection and union in each bag that has some, by its number.
        self.by_bag: dict[int, NDArray[np.int64]] = {}

    def add(self, matrix: NDArray[np.int64], frames: int, table: FrameTable, bag: int) -> None:
        self.matrix += matrix
        self.frames += frames
        overlaps = table.overlaps
        self.sums.add(overlaps, table.stamps_ns, number=bag)
        if overlaps.any():
            self.by_bag[bag] = overlaps.sum(axis=0)

    @property
    def counts(self) -> SliceCounts:
        return SliceCounts(self.matrix, self.frames, self.sums.read())


class SliceTotal:
    """Adds up the slices of bags; holds one frame's counts of each slice and bag.

    A bag that has no tag of a key has none in all its frames.

    Args:
        num_classes: n.
        block_s: length of the blocks of time to start with, seconds.
    """

    def __init__(self, num_classes: int, block_s: float) -> None:
        self._make: Callable[[], _Slice] = partial(_Slice, num_classes, block_s)
        self._whole = self._make()
        self._slices: dict[Tag, _Slice] = {}
        self._keys: dict[str, None] = {}
        self._bags = 0

    def add(self, stored: StoredReport, table: FrameTable) -> None:
        """Add a bag.

        Args:
            stored: its report.
            table: its frames.
        """
        content = stored.content
        if not content.get("slices"):
            return  # no tags are asked for, or there is no frame
        timeline = stored.timeline()
        for key in timeline.keys:
            if key not in self._keys:
                self._keys[key] = None
                self._slices[Tag(key, NO_TAG)] = deepcopy(self._whole)
        self._whole.add(stored.counts.matrix, stored.counts.frames, table, self._bags)
        for key in self._keys:
            if key not in timeline.keys:
                self._slices[Tag(key, NO_TAG)].add(
                    stored.counts.matrix, stored.counts.frames, table, self._bags
                )
        self._add_slices(content.get("slices", []), timeline, table)
        self._bags += 1

    def _add_slices(
        self, slices: list[dict[str, object]], timeline: TagTimeline, table: FrameTable
    ) -> None:
        rows, none = timeline.rows(table.stamps_ns), np.empty(0, np.intp)
        for each in slices:
            tag = Tag(str(each["key"]), str(each["name"]))
            if tag.key not in timeline.keys:
                continue
            chosen = table.rows(rows.get(tag, none))
            matrix = np.array(each["confusion"], np.int64).reshape(self._whole.matrix.shape)
            self._slice(tag).add(matrix, int(str(each["frames"])), chosen, self._bags)

    def _slice(self, tag: Tag) -> _Slice:
        named = [each for each in self._slices if each.name not in {NO_TAG, OTHER_TAGS}]
        if tag not in self._slices and tag.name != NO_TAG and len(named) >= MOST_TAGS:
            tag = tag._replace(name=OTHER_TAGS)
        return self._slices.setdefault(tag, self._make())

    @property
    def doubts(self) -> list[str]:
        """What makes it doubtful which frames are whose, a line each."""
        if not any(tag.name == OTHER_TAGS for tag in self._slices):
            return []
        return [f"there are more than {MOST_TAGS} tags: the others are {OTHER_TAGS!r}"]

    def results(self, class_names: tuple[str, ...], scoring: Scoring) -> dict[Tag, Result]:
        """Return the scores of all slices, the lowest mIoU first; nothing if no bag has tags."""
        slices = {tag: each.counts for tag, each in self._found().items()}
        return slice_results(slices, class_names, scoring)

    def contrasts(self) -> dict[Tag, Contrast]:
        """Compare the frames of each slice with all others."""
        whole, slices = self._whole.counts.blocks, self._found()
        if self._whole.sums.are_enough:
            # All numbered alike: a slice may be in few of the bags.
            counts = {
                tag: SliceCounts(each.matrix, each.frames, whole_drives(self._aligned(each)))
                for tag, each in slices.items()
            }
            whole = whole_drives(self._aligned(self._whole))
        else:
            counts = {tag: each.counts for tag, each in slices.items()}
        return slice_contrasts(counts, whole, self._whole.matrix)

    def _aligned(self, each: _Slice) -> list[NDArray[np.int64]]:
        nothing = np.zeros((2, len(each.matrix)), np.int64)
        return [each.by_bag.get(bag, nothing) for bag in range(self._bags)]

    def _found(self) -> Mapping[Tag, _Slice]:
        found = self._slices if self._keys else {Tag("", NO_TAG): self._whole}
        return {tag: each for tag, each in found.items() if each.frames}
