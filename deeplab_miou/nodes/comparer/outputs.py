"""What ``miou_comparer`` publishes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deeplab_miou_msgs.msg import ClassDifference, Comparison, FrameDifference
from diagnostic_msgs.msg import DiagnosticStatus

from deeplab_miou.comparison.files import format_bounds, format_signed
from deeplab_miou.nodes.ros.conversions import ns_to_time
from deeplab_miou.nodes.ros.diagnostics import Diagnostics, make_status
from deeplab_miou.nodes.ros.qos import LATCHED
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from rclpy.node import Node

    from deeplab_miou.comparison.changes import ChangedFrame
    from deeplab_miou.comparison.difference import Difference
    from deeplab_miou.comparison.snapshot import DuelSnapshot


class ComparerOutputs:
    """Publishes a comparison.

    Args:
        node: the node that publishes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._comparisons = node.create_publisher(Comparison, "~/comparison", LATCHED)
        self._diagnostics = Diagnostics(node, "comparison")

    def destroy(self) -> None:
        """Destroy the publishers."""
        self._node.destroy_publisher(self._comparisons)
        self._diagnostics.destroy()

    def comparison(self, found: DuelSnapshot, difference: Difference | None) -> None:
        """Publish a comparison."""
        self._comparisons.publish(comparison_message(found, difference))

    def diagnostics(self, found: DuelSnapshot, difference: Difference | None, error: str) -> None:
        """Publish how the node is.

        Args:
            found: the comparison.
            difference: of it.
            error: why the last report could not be written; empty if it could.
        """
        silent = [name for name, side in (("A", found.a), ("B", found.b)) if not side.source]
        level = DiagnosticStatus.OK
        if error:
            level, text = DiagnosticStatus.ERROR, error
        elif silent:
            level, text = DiagnosticStatus.WARN, f"{' and '.join(silent)} not heard yet"
        elif difference is None:
            level, text = DiagnosticStatus.WARN, found.note or "nothing to compare yet"
        else:
            text = headline(found, difference)
        values = {
            "frames": found.frames,
            "only A": sum(found.a.only.values()),
            "only B": sum(found.b.only.values()),
            "neither": found.neither,
            "other ground truth": found.other_ground_truth,
            "waiting A": found.a.waiting,
            "waiting B": found.b.waiting,
            "missing A": found.a.missing,
            "missing B": found.b.missing,
            "restarts": found.restarts,
            "note": found.note,
        }
        self._diagnostics.publish(make_status(level, text, values))


def headline(found: DuelSnapshot, difference: Difference) -> str:
    """Return the difference in a line."""
    bounds = format_bounds(difference.bounds.fixed[0])
    parts = ["B - A", format_signed(float(difference.value[0])), bounds]
    line = " ".join(filter(None, [*parts, f"over {plural(found.frames, 'frame')}"]))
    return f"{line}: {difference.verdict()}" if bounds else line


def comparison_message(found: DuelSnapshot, difference: Difference | None) -> Comparison:
    """Return a comparison as a message; NaN and no classes while nothing can be compared."""
    reasons = sorted({*found.a.only, *found.b.only})
    message = Comparison(
        source_a=found.a.source,
        source_b=found.b.source,
        name_a=found.a.name,
        name_b=found.b.name,
        frames=found.frames,
        verdict="no evidence",
        reasons=reasons,
        only_a=[found.a.only.get(each, 0) for each in reasons],
        only_b=[found.b.only.get(each, 0) for each in reasons],
        neither=found.neither,
        other_ground_truth=found.other_ground_truth,
        waiting_a=found.a.waiting,
        waiting_b=found.b.waiting,
        missing_a=found.a.missing,
        missing_b=found.b.missing,
        predicted_frames=found.disagreement.frames,
        disagreement=found.disagreement.share,
        became_worse=[_changed(each) for each in found.changed.worse],
        became_better=[_changed(each) for each in found.changed.better],
        most_disagreeing=[
            FrameDifference(
                stamp=ns_to_time(each.stamp_ns),
                miou_a=math.nan,
                miou_b=math.nan,
                disagreement=each.disagreement,
            )
            for each in found.disagreement.most
        ],
        restarts=found.restarts,
        note=found.note,
    )
    message.header.stamp = ns_to_time(found.stamp_ns)
    if found.decision is not None:
        message.decision = found.decision.verdict
        message.decided_stamp = ns_to_time(found.decision.stamp_ns)
        message.decided_frames = found.decision.frames
    if difference is None:
        for name in ("miou_a", "miou_b", *_BOUNDED):
            setattr(message, name, math.nan)
        message.interval_note = "nothing counted yet"
        return message
    message.margin = difference.margin
    message.miou_a, message.miou_b = float(difference.a[0]), float(difference.b[0])
    message.interval_note = difference.bounds.reason or ""
    _fill(message, difference, 0)
    for i, name in enumerate(found.class_names):
        each = ClassDifference(id=i, name=name)
        each.iou_a, each.iou_b = float(difference.a[1 + i]), float(difference.b[1 + i])
        _fill(each, difference, 1 + i)
        message.classes.append(each)
    return message


_BOUNDED = ("difference", "lower", "upper", "anytime_lower", "anytime_upper")


def _fill(message: Comparison | ClassDifference, difference: Difference, index: int) -> None:
    values = (
        difference.value[index],
        *difference.bounds.fixed[index],
        *difference.bounds.anytime[index],
    )
    for name, value in zip(_BOUNDED, values, strict=True):
        setattr(message, name, float(value))
    message.verdict = difference.verdict(index)


def _changed(frame: ChangedFrame) -> FrameDifference:
    return FrameDifference(
        stamp=ns_to_time(frame.stamp_ns),
        miou_a=frame.a,
        miou_b=frame.b,
        pixels=frame.pixels,
        disagreement=math.nan,
    )
