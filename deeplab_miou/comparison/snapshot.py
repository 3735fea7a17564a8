"""A running comparison at one instant, and what there is to say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.comparison.common import Common
from deeplab_miou.comparison.difference import compare_blocks, paired_sums
from deeplab_miou.comparison.report import Comparison
from deeplab_miou.comparison.side_info import SideInfo
from deeplab_miou.report.stamps import format_time
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from deeplab_miou.comparison.changes import MostChanged
    from deeplab_miou.comparison.difference import Difference, Verdict
    from deeplab_miou.comparison.predictions import Disagreement
    from deeplab_miou.metric.blocks import TimeBlocks
    from deeplab_miou.metric.scores import AbsentClasses


@dataclass(frozen=True)
class Decision:
    """The first verdict of the bounds that hold at every moment; it stands.

    Attributes:
        verdict: better, worse or equivalent.
        stamp_ns: stamp of the newest frame by then.
        frames: frames by then.
    """

    verdict: Verdict
    stamp_ns: int
    frames: int


@dataclass(frozen=True, eq=False)
class SideSnapshot:
    """One of the evaluators.

    Attributes:
        source: its fully qualified name; empty before it has been heard.
        name: what it evaluates.
        provenance: with what.
        missing: outcomes known to exist that did not come.
        waiting: frames that it scored and the other has not reported.
        only: frames that only it scored, by the reason of the other one.
    """

    source: str
    name: str
    provenance: dict[str, object]
    missing: int
    waiting: int
    only: dict[str, int]


@dataclass(frozen=True, eq=False)
class DuelSnapshot:
    """A comparison at one instant.

    Attributes:
        a: one evaluator.
        b: the other.
        class_names: n names in id order; empty while nothing can be compared.
        blocks: what both scored, in blocks of time, counts (k, 2, 2, n); None without classes.
        frames: frames in them.
        stamp_ns: stamp of the newest of them, 0 before the first.
        neither: frames that neither scored.
        other_ground_truth: frames that they scored on other pixels.
        decision: None before it is decided.
        changed: the frames whose mIoU changed most.
        disagreement: of the predictions, whether their frames have labels or not.
        restarts: how often counting started over.
        note: why nothing is compared, or why counting started over; empty if neither.
    """

    a: SideSnapshot
    b: SideSnapshot
    class_names: tuple[str, ...]
    blocks: TimeBlocks | None
    frames: int
    stamp_ns: int
    neither: int
    other_ground_truth: int
    decision: Decision | None
    changed: MostChanged
    disagreement: Disagreement
    restarts: int
    note: str

    def difference(self, margin: float, absent_classes: AbsentClasses) -> Difference | None:
        """Return the difference and its bounds; None while nothing can be compared."""
        if self.blocks is None:
            return None
        return compare_blocks(self.blocks, margin=margin, absent_classes=absent_classes)


def decided_line(decision: Decision) -> str:
    """Return in words when what was decided."""
    meaning = {
        "better": "B is better than A",
        "worse": "B is worse than A",
        "equivalent": "B is as good as A within the margin",
    }[decision.verdict]
    frames = plural(decision.frames, "frame")
    return f"decided at {format_time(decision.stamp_ns)} after {frames}: {meaning}"


def summarise(found: DuelSnapshot, difference: Difference) -> Comparison:
    """Return a running comparison as one that can be written.

    Args:
        found: at one instant.
        difference: of it.
    """
    only = [sum(side.only.values()) for side in (found.a, found.b)]
    common = Common(
        paired_sums(len(found.class_names)),
        frames=found.frames,
        only_a=only[0],
        only_b=only[1],
        bags=[""],
        changed=found.changed,
        disagreement=found.disagreement.share,
    )
    remarks = [decided_line(found.decision)] if found.decision is not None else []
    for name, side in (("A", found.a), ("B", found.b)):
        remarks += [
            f"{plural(count, 'frame')} scored by {name} only: {reason} in the other"
            for reason, count in sorted(side.only.items())
        ]
        if side.missing:
            remarks.append(f"{plural(side.missing, 'frame outcome')} of {name} never arrived")
    if found.note:
        remarks.append(found.note)
    a, b = (SideInfo(each.source, each.name, each.provenance) for each in (found.a, found.b))
    return Comparison(
        a,
        b,
        found.class_names,
        common,
        difference,
        remarks=remarks,
        disagreeing=found.disagreement.most,
    )
