"""Whether the scores of a report reach what criteria ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deeplab_miou.accounting import Account
from deeplab_miou.metric.image_scores import IMAGE_FIELDS
from deeplab_miou.report.criteria import ELSEWHERE, SCORES
from deeplab_miou.tags.timeline import Tag
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.report.criteria import Criterion


@dataclass(frozen=True)
class Judgement:
    """The outcome of a criterion.

    Attributes:
        criterion: which.
        value: what was found, NaN if there is none.
        passed: None if this command does not know the score.
        reason: why there is no value, empty if there is one.
    """

    criterion: Criterion
    value: float
    passed: bool | None
    reason: str = ""

    @property
    def line(self) -> str:
        """What was asked for and what was found, in words."""
        return f"{self.criterion.title}: {self.found}"

    @property
    def found(self) -> str:
        """The value, or why there is none."""
        return self.reason if math.isnan(self.value) else f"{self.value:.6g}"

    def to_dict(self) -> dict[str, object]:
        """Return plain types for JSON."""
        asked = self.criterion
        return {
            "score": asked.score,
            "class": asked.class_name or None,
            "region": asked.region or None,
            "slice": asked.slice_name or None,
            "reason": asked.reason or None,
            "at_least": asked.at_least,
            "at_most": asked.at_most,
            "value": self.value,
            "passed": self.passed,
        }


def judge(
    criteria: Sequence[Criterion],
    report: Mapping[str, Any],
    comparison: Mapping[str, Any] | None = None,
    latency_s: float | None = None,
) -> list[Judgement]:
    """Check criteria; what is undefined has not been reached.

    Args:
        criteria: what is asked for.
        report: as `Report.to_dict` returns it.
        comparison: as `Comparison.to_dict` returns it, if two networks were compared.
        latency_s: 95th percentile of the frames' latency, seconds, NaN if there is none yet; None
            if frames are not scored as they arrive.
    """
    return [_judge(each, report, comparison, latency_s) for each in criteria]


def are_met(judgements: Sequence[Judgement]) -> bool:
    """Return whether none was missed."""
    return all(each.passed is not False for each in judgements)


def _judge(
    asked: Criterion,
    report: Mapping[str, Any],
    comparison: Mapping[str, Any] | None,
    latency_s: float | None,
) -> Judgement:
    read_from = SCORES[asked.score].read_from
    if (read_from == "difference" and comparison is None) or (
        read_from == "latency" and latency_s is None
    ):
        return Judgement(asked, math.nan, None, f"checked by {ELSEWHERE[read_from]} only")
    value = latency_s if read_from == "latency" else _value(asked, report, comparison or {})
    if value is None or math.isnan(value):
        return Judgement(asked, math.nan, passed=False, reason=_why_undefined(asked, report))
    low = asked.at_least is not None and value < asked.at_least
    high = asked.at_most is not None and value > asked.at_most
    return Judgement(asked, float(value), not (low or high))


def _value(
    asked: Criterion, report: Mapping[str, Any], comparison: Mapping[str, Any]
) -> float | None:
    score, read_from = asked.score, SCORES[asked.score].read_from
    if asked.region:
        report = _of_region(report, asked.region)
    if asked.slice_name:
        report = _of_slice(report, asked.slice_name)
    if read_from == "difference":
        entry = comparison
        if asked.class_name:
            entry = _of_class(comparison, asked.class_name)
        key = "lower" if score == "difference_lower" else "difference"
        found: float | None = entry.get(key)
        return found
    if read_from == "images":
        return _of_images(report, score)
    if read_from in {"class", "mistakes"}:
        of_class: float | None = _of_class(report, asked.class_name).get(score)
        return of_class
    if read_from == "account":
        stream, _, what = score.partition("_")
        return _of_account(
            Account.from_dict(report["accounting"]).streams[stream], what, asked.reason
        )
    value = report.get(score)
    return len(value or ()) if score == "doubts" else value


def _of_region(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what is reported of a region, nothing if there is no such region."""
    nothing: dict[str, Any] = {"classes": []}
    return next((each for each in report["regions"] if each["name"] == name), nothing)


def _of_slice(report: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """Return what is reported of a slice, nothing if there is no such slice."""
    nothing: dict[str, Any] = {"classes": []}
    slices = ((Tag(each["key"], each["name"]), each) for each in report.get("slices", ()))
    return next((each for tag, each in slices if tag.label == label), nothing)


def _of_class(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what is reported of a class, nothing if there is no such class."""
    return next((each for each in report["classes"] if each["name"] == name), {})


def _of_images(report: Mapping[str, Any], score: str) -> float | None:
    """Return a mean over frames, or its lower bound; None where no frames are known."""
    images = report.get("image_scores") or {}
    name = score.removesuffix("_lower")
    key = next(key for key, field in IMAGE_FIELDS.items() if field == name)
    found: float | None = images.get(key, {}).get("value" if name == score else "lower")
    return found


def _of_account(counts: StreamCounts, what: str, reason: str) -> float | None:
    if what == "dropped":
        return float(counts.dropped.get(reason, 0) if reason else sum(counts.dropped.values()))
    return counts.evaluated / counts.received if counts.received else None


def _why_undefined(asked: Criterion, report: Mapping[str, Any]) -> str:
    if asked.region:
        frames = report["frames"]
        report = _of_region(report, asked.region)
        if "name" not in report:
            return "there is no such region"
        report = {**report, "frames": frames}
    if asked.slice_name:
        report = _of_slice(report, asked.slice_name)
        if "name" not in report:
            return "no frame has that tag"
    if asked.class_name:
        return _why_class_undefined(asked, _of_class(report, asked.class_name))
    if asked.score.endswith("_lower"):
        return "there is no interval"
    if SCORES[asked.score].read_from == "account":
        return "nothing was received"
    return f"undefined in {plural(report['frames'], 'frame')}"


def _why_class_undefined(asked: Criterion, of_class: Mapping[str, Any]) -> str:
    if not of_class:
        return "there is no such class"
    if SCORES[asked.score].read_from == "mistakes" and asked.score not in of_class:
        return "needs --error-types, or the parameter error_types"
    if asked.score.endswith("_lower"):
        return "there is no interval"
    return "the class does not occur"
