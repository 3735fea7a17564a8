"""The result of comparing two runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.report.report import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.comparison.changes import ChangedFrame
    from deeplab_miou.comparison.common import Common
    from deeplab_miou.comparison.difference import Difference
    from deeplab_miou.comparison.run import EvaluatedRun
    from deeplab_miou.report.criteria import Judgement

SCHEMA_VERSION = 1
_SHOWN_NAMES = 5


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two runs and their difference on the frames that they share.

    Attributes:
        a: the run that is compared with.
        b: the run that is judged.
        common: what both have scored.
        difference: B - A on these.
        criteria: what was asked of B, and what became of it.
    """

    a: EvaluatedRun
    b: EvaluatedRun
    common: Common
    difference: Difference
    criteria: Sequence[Judgement] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of all classes in id order."""
        return self.a.report.class_names

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
            f"{count} frames were scored by {name} only and are left out"
            for name, count in (("A", common.only_a), ("B", common.only_b))
            if count
        ]
        for name, run in (("A", self.a), ("B", self.b)):
            lines += [f"{name} is incomplete: {each}" for each in run.report.problems]
            lines += [f"{name} is doubtful: {doubt}" for doubt in run.report.doubts]
        return lines

    @property
    def sentence(self) -> str:
        """The verdict in a sentence."""
        difference = self.difference
        frames = f"on {self.common.frames} common frames"
        if self.a.is_many:
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
        pixels = self.common.pixels
        if pixels is None:
            return ""
        right, wrong = int(pixels.right.sum()), int(pixels.wrong.sum())
        return (
            f"{right:,} pixels became right and {wrong:,} wrong; "
            f"A and B disagree on {pixels.disagreement:.2%} of all pixels"
        )

    def to_dict(self) -> dict[str, object]:
        """Return the comparison as plain JSON types; what is undefined (NaN) is None."""
        difference, common = self.difference, self.common
        pixels = common.pixels
        return plain(
            {
                "schema_version": SCHEMA_VERSION,
                "a": _run_dict(self.a),
                "b": _run_dict(self.b),
                "frames": common.frames,
                "only_a": common.only_a,
                "only_b": common.only_b,
                "bags": common.bags if self.a.is_many else [],
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
                "disagreement": None if pixels is None else pixels.disagreement,
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
                "became_worse": [_frame_dict(each) for each in common.changed.worse],
                "became_better": [_frame_dict(each) for each in common.changed.better],
                "criteria": [each.to_dict() for each in self.criteria],
                "cautions": self.cautions,
            }
        )


def _frame_dict(frame: ChangedFrame) -> dict[str, object]:
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


def _run_dict(run: EvaluatedRun) -> dict[str, object]:
    return {"folder": run.folder, "name": run.name, "provenance": run.report.provenance}
