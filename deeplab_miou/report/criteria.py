"""What a score must reach, read from a YAML file and checked against a report.

criteria:
  - {score: miou_lower, at_least: 0.70}
  - {score: iou, class: person, at_least: 0.55}
  - {score: miou, region: far, at_least: 0.50}
  - {score: miou, slice: rain, at_least: 0.45}
  - {score: labels_dropped, reason: truncated_data, at_most: 0}
  - {score: difference_lower, at_least: -0.005}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from deeplab_miou import strict_yaml
from deeplab_miou.accounting import Account, Reason
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.paths import user_path
from deeplab_miou.strict_yaml import Checker
from deeplab_miou.tags.timeline import Tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.metric.counts import Axes
    from deeplab_miou.strict_yaml import KeyPath

_WHAT = "criteria file"
_KEYS = ("score", "class", "region", "slice", "reason", "at_least", "at_most")
_MOST = 1e18
_MOST_CRITERIA = 1000


class _Kind(NamedTuple):
    """Where a score comes from, and its range."""

    of: str  # what it is read from: report, class, account, difference, live
    least: float
    largest: float


_SHARE = _Kind("report", 0, 1)
_CLASS = _Kind("class", 0, 1)
_COUNT = _Kind("account", 0, _MOST)
SCORES = {
    **dict.fromkeys((*HEADLINES, "miou_lower"), _SHARE),
    **dict.fromkeys(("iou", "iou_lower", "precision", "recall", "f1"), _CLASS),
    **dict.fromkeys(("images_evaluated", "labels_evaluated"), _Kind("account", 0, 1)),
    **dict.fromkeys(("images_dropped", "labels_dropped"), _COUNT),
    **dict.fromkeys(("frames", "doubts"), _Kind("report", 0, _MOST)),
    **dict.fromkeys(("difference", "difference_lower"), _Kind("difference", -1, 1)),
    "latency_p95": _Kind("live", 0, 3600),
}
# Who checks what not everybody can.
_ELSEWHERE = {"difference": "`deeplab-miou compare`", "live": "miou_publisher"}


@dataclass(frozen=True)
class Criterion:
    """One line of the file.

    Attributes:
        score: a key of `SCORES`.
        class_name: which class; empty for all together.
        reason: of what was dropped; empty for every reason.
        at_least: least value, None for no limit.
        at_most: greatest value, None for no limit.
        origin: where it is written.
        region: which part of the image; empty for all of it.
        slice_name: which frames, by their tag, as ``rain`` or ``weather=rain``; empty for all.
    """

    score: str
    class_name: str
    reason: str
    at_least: float | None
    at_most: float | None
    origin: str
    region: str = ""
    slice_name: str = ""

    @property
    def title(self) -> str:
        """What is asked for, in words."""
        what = self.score
        what += f" of {self.class_name}" if self.class_name else ""
        what += f" in {self.region}" if self.region else ""
        what += f" with {self.slice_name}" if self.slice_name else ""
        what += f" as {self.reason}" if self.reason else ""
        limits = (("at least", self.at_least), ("at most", self.at_most))
        return f"{what} {' and '.join(f'{n} {v:.12g}' for n, v in limits if v is not None)}"


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


def read_criteria(file: str, *, differences: bool, live: bool = False) -> tuple[Criterion, ...]:
    """Read a criteria file; no file has no criteria.

    Args:
        file: its path, empty for none.
        differences: whether there will be two networks to tell apart.
        live: whether frames will be scored as they arrive.

    Raises:
        ConfigurationError: it is unreadable or malformed, or has nothing that can be checked; the
            message names file, line and key.
    """
    if not file:
        return ()
    path = user_path(file)
    data, lines = strict_yaml.read(path, _WHAT)
    found = _Checker(_WHAT, str(path), lines).criteria(data)
    elsewhere = {
        each: where
        for each, where in _ELSEWHERE.items()
        if not (differences if each == "difference" else live)
    }
    if all(SCORES[each.score].of in elsewhere for each in found):
        places = dict.fromkeys(elsewhere[SCORES[each.score].of] for each in found)
        raise ConfigurationError(
            f"{_WHAT} {path} asks only for what is checked by {' and '.join(places)}"
        )
    return found


def check_names(criteria: Sequence[Criterion], axes: Axes) -> None:
    """Complain about classes and regions that are not there.

    Raises:
        ConfigurationError: a criterion is about one.
    """
    class_names = axes.classes
    for each in criteria:
        if each.region and each.region not in axes.regions:
            known = ", ".join(axes.regions) or "none"
            raise ConfigurationError(
                f"{each.origin}: there is no region {each.region!r}; known: {known}"
            )
        if each.class_name and each.class_name not in class_names:
            raise ConfigurationError(
                f"{each.origin}: there is no class {each.class_name!r}; known: "
                f"{', '.join(class_names)}"
            )


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
    of = SCORES[asked.score].of
    if (of == "difference" and comparison is None) or (of == "live" and latency_s is None):
        return Judgement(asked, math.nan, None, f"checked by {_ELSEWHERE[of]} only")
    value = latency_s if of == "live" else _value(asked, report, comparison or {})
    if value is None or math.isnan(value):
        return Judgement(asked, math.nan, passed=False, reason=_why_undefined(asked, report))
    low = asked.at_least is not None and value < asked.at_least
    high = asked.at_most is not None and value > asked.at_most
    return Judgement(asked, float(value), not (low or high))


def _value(
    asked: Criterion, report: Mapping[str, Any], comparison: Mapping[str, Any]
) -> float | None:
    score, of = asked.score, SCORES[asked.score].of
    if asked.region:
        report = _of_region(report, asked.region)
    if asked.slice_name:
        report = _of_slice(report, asked.slice_name)
    if of == "difference":
        entry = comparison
        if asked.class_name:
            entry = _of_class(comparison, asked.class_name)
        key = "lower" if score == "difference_lower" else "difference"
        found: float | None = entry.get(key)
        return found
    if of == "class":
        of_class: float | None = _of_class(report, asked.class_name).get(score)
        return of_class
    if of == "account":
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
    if asked.class_name and not _of_class(report, asked.class_name):
        return "there is no such class"
    if asked.score.endswith("_lower"):
        return "there is no interval"
    if SCORES[asked.score].of == "account":
        return "nothing was received"
    return (
        "the class does not occur"
        if asked.class_name
        else f"undefined in {report['frames']} frames"
    )


class _Checker(Checker):
    """Checks one criteria file."""

    def criteria(self, data: object) -> tuple[Criterion, ...]:
        top = self.mapping(data, (), ("criteria",))
        items = self.items(top["criteria"], ("criteria",))
        if not 1 <= len(items) <= _MOST_CRITERIA:
            self.fail(("criteria",), f"has {len(items)} entries, expected 1 to {_MOST_CRITERIA}")
        found = tuple(self._criterion(item, ("criteria", i)) for i, item in enumerate(items))
        seen: dict[tuple[str, ...], int] = {}
        for i, each in enumerate(found):
            key = (each.score, each.class_name, each.region, each.slice_name, each.reason)
            if seen.setdefault(key, i) != i:
                self.fail(("criteria", i), f"is about the same as criteria[{seen[key]}]")
        return found

    def _criterion(self, data: object, path: KeyPath) -> Criterion:
        item = self.mapping(data, path, _KEYS)
        if "score" not in item:
            self.fail(path, f"has no score; known: {', '.join(SCORES)}")
        score = self.text(item["score"], (*path, "score"))
        if score not in SCORES:
            self.fail((*path, "score"), f"is {score!r}, expected one of: {', '.join(SCORES)}")
        kind = SCORES[score]
        if kind.of == "class" and "class" not in item:
            self.fail(path, f"has no class, of which the {score} is meant")
        self._only_for(item, path, "class", fits=kind.of in {"class", "difference"})
        self._only_for(item, path, "region", fits=kind.of == "class" or kind is _SHARE)
        fits_slice = kind.of == "class" or kind is _SHARE or score == "frames"
        self._only_for(item, path, "slice", fits=fits_slice)
        self._only_for(item, path, "reason", fits=kind is _COUNT)
        least, most = (self._limit(item, (*path, key), kind) for key in ("at_least", "at_most"))
        if least is None and most is None:
            self.fail(path, "has no at_least and no at_most")
        reason = self.text(item.get("reason", ""), (*path, "reason"))
        if "reason" in item and reason not in {each.value for each in Reason}:
            known = ", ".join(each.value for each in Reason)
            self.fail((*path, "reason"), f"is {reason!r}, expected one of: {known}")
        name = self.text(item.get("class", ""), (*path, "class"))
        if "class" in item and not name:
            self.fail((*path, "class"), "is empty")
        region = self.text(item.get("region", ""), (*path, "region"))
        if "region" in item and not region:
            self.fail((*path, "region"), "is empty")
        label = self.text(item.get("slice", ""), (*path, "slice"))
        if "slice" in item and not label:
            self.fail((*path, "slice"), "is empty")
        if label and region:
            self.fail((*path, "slice"), "is given with a region: slices are of the whole image")
        return Criterion(score, name, reason, least, most, self.place(path), region, label)

    def _only_for(self, item: Mapping[str, object], path: KeyPath, key: str, *, fits: bool) -> None:
        if key in item and not fits:
            self.fail((*path, key), f"is given, but {item['score']} has none")

    def _limit(self, item: Mapping[str, object], path: KeyPath, kind: _Kind) -> float | None:
        if path[-1] not in item:
            return None
        return self.number(item[str(path[-1])], path, kind.least, kind.largest)
