"""The result of comparing two runs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.report.report import plain
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.comparison.changes import ChangedFrame
    from deeplab_miou.comparison.common import Common
    from deeplab_miou.comparison.difference import Difference
    from deeplab_miou.comparison.predictions import DisagreeingFrame
    from deeplab_miou.comparison.side_info import SideInfo
    from deeplab_miou.comparison.slices import SliceDifference
    from deeplab_miou.metric.scores import AbsentClasses
    from deeplab_miou.report.judging import Judgement

SCHEMA_VERSION = 1
_SHOWN_NAMES = 5


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two runs and their difference on the frames that they share.

    Attributes:
        a: what is compared with.
        b: what is judged.
        class_names: the names of all classes in id order.
        common: what both have scored.
        difference: B - A on these.
        absent_classes: as in `compute_scores`.
        criteria: what was asked of B, and what became of it.
        remarks: what else there is to say of a running comparison, a line each.
        disagreeing: the frames with the largest disagreement, labelled or not.
        slices: the difference on the frames of each tag, those that lost most first.
    """

    a: SideInfo
    b: SideInfo
    class_names: tuple[str, ...]
    common: Common
    difference: Difference
    absent_classes: AbsentClasses = "exclude"
    criteria: Sequence[Judgement] = ()
    remarks: Sequence[str] = ()
    disagreeing: Sequence[DisagreeingFrame] = ()
    slices: Sequence[SliceDifference] = ()

    @property
    def cautions(self) -> list[str]:
        """What may make the comparison mean less than it seems, a line each."""
        common = self.common
        lines = [
            f"bags that only {name} evaluated are left out ({len(bags)}): {_some(bags)}"
            for name, bags in (("A", common.bags_only_a), ("B", common.bags_only_b))
            if bags
        ]
        lines += [
            f"{plural(count, 'frame')} scored by {name} only, left out here"
            for name, count in (("A", common.only_a), ("B", common.only_b))
            if count
        ]
        for name, side in (("A", self.a), ("B", self.b)):
            counted = side.provenance.get("absent_classes", self.absent_classes)
            if counted != self.absent_classes:
                lines.append(
                    f"{name}'s own report has another mIoU: it was made with --absent-classes "
                    f"{counted}, this comparison with {self.absent_classes}"
                )
            lines += [f"{name} is incomplete: {each}" for each in side.problems]
            lines += [f"{name} is doubtful: {doubt}" for doubt in side.doubts]
        return lines

    @property
    def sentence(self) -> str:
        """The verdict in a sentence."""
        difference = self.difference
        frames = f"on {plural(self.common.frames, 'common frame')}"
        if self.common.is_many:
            frames += f" of {len(self.common.bags)} bags"
        texts = {
            "better": f"B is better than A {frames}",
            "worse": f"B is worse than A {frames}",
            "equivalent": f"B is as good as A within {difference.margin:g} {frames}",
            "no evidence": f"No evidence of a difference between A and B {frames}",
        }
        return texts[difference.verdict()]

    @property
    def pixel_line(self) -> str:
        """What became of single pixels, in a line; empty if the predictions were not seen."""
        pixels, parts = self.common.pixels, []
        if pixels is not None:
            right, wrong = int(pixels.right.sum()), int(pixels.wrong.sum())
            parts.append(f"{right:,} pixels became right and {wrong:,} wrong")
        if not math.isnan(self.common.disagreement):
            parts.append(f"A and B disagree on {self.common.disagreement:.2%} of all pixels")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """Return the comparison as plain JSON types; what is undefined (NaN) is None."""
        difference, common = self.difference, self.common
        pixels = common.pixels
        return plain(
            {
                "schema_version": SCHEMA_VERSION,
                "a": _side_dict(self.a),
                "b": _side_dict(self.b),
                "frames": common.frames,
                "only_a": common.only_a,
                "only_b": common.only_b,
                "bags": common.bags if self.common.is_many else [],
                "bags_only_a": common.bags_only_a,
                "bags_only_b": common.bags_only_b,
                "miou_a": float(difference.a[0]),
                "miou_b": float(difference.b[0]),
                **_entry(difference, 0),
                "one_sided_lower": float(difference.bounds.one_sided[0, 0]),
                "one_sided_upper": float(difference.bounds.one_sided[0, 1]),
                "margin": difference.margin,
                "blocks": difference.bounds.blocks,
                "resampled": difference.bounds.unit,
                "reason": difference.bounds.reason,
                "anytime_reason": difference.bounds.anytime_reason,
                "became_right": None if pixels is None else int(pixels.right.sum()),
                "became_wrong": None if pixels is None else int(pixels.wrong.sum()),
                "disagreement": common.disagreement,
                "classes": [
                    {
                        "id": i,
                        "name": name,
                        "iou_a": float(difference.a[1 + i]),
                        "iou_b": float(difference.b[1 + i]),
                        **_entry(difference, 1 + i),
                        "became_right": None if pixels is None else int(pixels.right[i]),
                        "became_wrong": None if pixels is None else int(pixels.wrong[i]),
                    }
                    for i, name in enumerate(self.class_names)
                ],
                "slices": [
                    {
                        **each.tag._asdict(),
                        "frames": each.frames,
                        "miou_a": float(each.difference.a[0]),
                        "miou_b": float(each.difference.b[0]),
                        **_entry(each.difference, 0),
                        "reason": each.difference.bounds.reason,
                    }
                    for each in self.slices
                ],
                "became_worse": [_frame_dict(each) for each in common.changed.worse],
                "became_better": [_frame_dict(each) for each in common.changed.better],
                "criteria": [each.to_dict() for each in self.criteria],
                "most_disagreeing": [_frame_dict(each) for each in self.disagreeing],
                "remarks": list(self.remarks),
                "cautions": self.cautions,
            }
        )


def _frame_dict(frame: ChangedFrame | DisagreeingFrame) -> dict[str, object]:
    return {key: value for key, value in vars(frame).items() if key != "picture"}


def to_json(comparison: Comparison) -> str:
    """Return a comparison as JSON text."""
    return json.dumps(comparison.to_dict(), indent=2, allow_nan=False) + "\n"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")


def _entry(difference: Difference, index: int) -> dict[str, object]:
    lower, upper = difference.bounds.fixed[index]
    anytime_lower, anytime_upper = difference.bounds.anytime[index]
    return {
        "difference": float(difference.value[index]),
        "lower": float(lower),
        "upper": float(upper),
        "anytime_lower": float(anytime_lower),
        "anytime_upper": float(anytime_upper),
        "verdict": difference.verdict(index),
    }


def _side_dict(side: SideInfo) -> dict[str, object]:
    return {"folder": side.folder, "name": side.name, "provenance": side.provenance}
