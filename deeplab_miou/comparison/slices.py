"""By how much two networks differ on the frames that have a tag in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.comparison.difference import add_pair, compare_blocks, paired_sums
from deeplab_miou.tags.timeline import NO_TAG

if TYPE_CHECKING:
    from deeplab_miou.comparison.difference import Difference
    from deeplab_miou.comparison.frames import CommonFrames
    from deeplab_miou.metric.drives import DriveSums
    from deeplab_miou.metric.scores import AbsentClasses
    from deeplab_miou.tags.timeline import Tag, TagTimeline


class SliceDifference(NamedTuple):
    """How B differs from A on the frames of a slice.

    Attributes:
        tag: what the frames have in common.
        frames: how many.
        difference: on these.
    """

    tag: Tag
    frames: int
    difference: Difference


class SlicePairs:
    """The common frames of two runs by their tags, of one bag or of many.

    Args:
        num_classes: n.
    """

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._sums: dict[Tag, DriveSums] = {}
        self._frames: dict[Tag, int] = {}

    def add(self, frames: CommonFrames, timeline: TagTimeline) -> None:
        """Add the frames of a bag; those without a tag are left out."""
        for tag, rows in timeline.rows(frames.a.stamps_ns).items():
            if tag.name == NO_TAG:
                continue
            if tag not in self._sums:
                self._sums[tag], self._frames[tag] = paired_sums(self._num_classes), 0
            add_pair(self._sums[tag], frames.a.rows(rows), frames.b.rows(rows))
            self._frames[tag] += len(rows)

    def differences(
        self, *, margin: float, absent_classes: AbsentClasses = "exclude"
    ) -> list[SliceDifference]:
        """Return the difference on each slice, those that lost most first.

        Args:
            margin: differences within it do not matter.
            absent_classes: as in `compute_scores`.
        """
        found = [
            SliceDifference(
                tag,
                self._frames[tag],
                compare_blocks(sums.read(), margin=margin, absent_classes=absent_classes),
            )
            for tag, sums in self._sums.items()
        ]
        return sorted(found, key=lambda each: (_loss(each), each.tag))


def _loss(each: SliceDifference) -> float:
    value = float(each.difference.value[0])
    return value if np.isfinite(value) else 2.0
