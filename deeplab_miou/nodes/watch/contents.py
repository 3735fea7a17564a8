"""What the page shows, made from messages that anybody may have sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.aggregation.messages import MAX_CLASSES, MAX_REGIONS, RefusedError, check_name
from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.nodes.ros.conversions import stream_counts, time_to_ns
from deeplab_miou.report.stamps import format_time
from deeplab_miou.report.wording import depth_line
from deeplab_miou.tags.timeline import Tag
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from deeplab_miou_msgs.msg import Comparison, MeanIoU, StreamAccount
    from diagnostic_msgs.msg import DiagnosticStatus

    from deeplab_miou.aggregation.results import Totals

_NS = 1_000_000_000
_MAX_SOURCES = 256
_MAX_TEXT = 1000
_MAX_VALUES = 100
_SCORES = (
    *HEADLINES,
    "miou_lower",
    "miou_upper",
    "miou_anytime_lower",
    "miou_anytime_upper",
    "frames",
    "missing_frames",
    "labelled_pixels",
    "ignored_pixels",
    "unmapped_pixels",
    "present_classes",
)
_BOUNDED = ("difference", "lower", "upper", "anytime_lower", "anytime_upper")
_OF_A_COMPARISON = (
    *_BOUNDED,
    "frames",
    "miou_a",
    "miou_b",
    "margin",
    "decided_frames",
    "predicted_frames",
    "disagreement",
)
_TEXTS_OF_A_COMPARISON = ("name_a", "name_b", "verdict", "decision", "interval_note", "note")
_OF_A_CLASS = (
    "id",
    "name",
    "iou",
    "iou_lower",
    "iou_upper",
    "precision",
    "recall",
    "f1",
    "true_positive",
    "false_positive",
    "false_negative",
    "boundary_errors",
    "extent_errors",
    "segment_errors",
    "boundary_iou",
)
_OF_A_REGION = ("name", "miou", "miou_lower", "miou_upper", "labelled_pixels")


# Tags, and for each key those without one and those beyond the bound.
_MAX_SLICES = 128
_OF_A_SLICE = ("frames", "miou", "miou_lower", "miou_upper")


def scores_content(message: MeanIoU, time_s: float) -> dict[str, object]:
    """Return what a result or a window says, its fields by their names.

    Args:
        message: the message.
        time_s: when it arrived, seconds since 1970.

    Raises:
        RefusedError: it has more classes, sources or reasons than anything real, or a name that
            nothing real has.
    """
    check_scores(message)
    depth = {name: getattr(message, name) for name in DEPTH}
    return {
        "t": time_s,
        "stamp": time_to_ns(message.header.stamp) / _NS,
        **{name: getattr(message, name) for name in _SCORES},
        "interval_note": _text(message.interval_note),
        "sources": list(message.sources),
        "depth": depth_line(message.frames, depth) if any(depth.values()) else "",
        "classes": [
            {name: getattr(each, name) for name in _OF_A_CLASS} for each in message.classes
        ],
        "slices": [
            {name: getattr(each, name) for name in _OF_A_SLICE}
            | {
                "label": _text(Tag(each.key, each.name).label),
                "interval_note": _text(each.interval_note),
            }
            for each in message.slices
        ],
        "regions": [
            {name: getattr(each, name) for name in _OF_A_REGION}
            | {"interval_note": _text(each.interval_note)}
            | {"classes": [{"name": one.name, "iou": one.iou} for one in each.classes]}
            for each in message.regions
        ],
    }


def comparison_content(message: Comparison) -> dict[str, object]:
    """Return what a comparison says, its fields by their names.

    Raises:
        RefusedError: it has more classes than anything real, or a name that nothing real has.
    """
    _check_names("classes", [each.name for each in message.classes], MAX_CLASSES)
    decided = format_time(time_to_ns(message.decided_stamp)) if message.decision else ""
    return {
        **{name: getattr(message, name) for name in _OF_A_COMPARISON},
        **{name: _text(getattr(message, name)) for name in _TEXTS_OF_A_COMPARISON},
        "decided_at": decided,
        "only_a": sum(message.only_a),
        "only_b": sum(message.only_b),
        "classes": [
            {name: getattr(each, name) for name in ("id", "name", *_BOUNDED)}
            | {"verdict": _text(each.verdict)}
            for each in message.classes
        ],
    }


def check_scores(message: MeanIoU) -> None:
    """Refuse a message that would be a burden to show."""
    _check_names("classes", [each.name for each in message.classes], MAX_CLASSES)
    _check_names("sources", list(message.sources), _MAX_SOURCES)
    if len(message.slices) > _MAX_SLICES:
        raise RefusedError(
            "malformed", f"it has {len(message.slices)} slices, expected at most {_MAX_SLICES}"
        )
    _check_names("regions", [each.name for each in message.regions], MAX_REGIONS)
    for region in message.regions:
        _check_names("classes", [each.name for each in region.classes], MAX_CLASSES)


def _check_names(what: str, names: list[str], most: int) -> None:
    if len(names) > most:
        raise RefusedError("malformed", f"it has {len(names)} {what}, expected at most {most}")
    for name in names:
        check_name(what, name)


def account_content(message: MeanIoU) -> dict[str, object]:
    """Return what happened to all images and labels.

    Raises:
        RefusedError: as `stream_counts`.
    """
    return {"images": _stream(message.images), "labels": _stream(message.labels)}


def _stream(message: StreamAccount) -> dict[str, object]:
    counts = stream_counts(message)
    return {
        "received": counts.received,
        "evaluated": counts.evaluated,
        "waiting": counts.waiting,
        "dropped": dict(counts.dropped),
    }


def confusion_content(totals: Totals) -> dict[str, object]:
    """Return the matrix of evaluators, with what is doubtful about it."""
    return {
        "names": totals.class_names,
        "frames": totals.counts.frames,
        "counts": totals.counts.matrix.tolist(),
        "doubts": totals.doubts,
    }


def status_content(status: DiagnosticStatus, time_s: float) -> dict[str, object]:
    """Return what a node reports; ``time_s`` as for `scores_content`."""
    return {
        "t": time_s,
        "name": _text(status.name),
        "level": status.level[0],
        "message": _text(status.message),
        "values": {_text(each.key): _text(each.value) for each in status.values[:_MAX_VALUES]},
    }


def _text(text: str) -> str:
    return printable(text[:_MAX_TEXT])
