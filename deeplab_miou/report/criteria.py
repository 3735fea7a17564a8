"""What a score must reach, read from a YAML file.

criteria:
  - {score: miou_lower, at_least: 0.70}
  - {score: iou, class: person, at_least: 0.55}
  - {score: miou, region: far, at_least: 0.50}
  - {score: miou, slice: rain, at_least: 0.45}
  - {score: worst_frames_miou, at_least: 0.40}
  - {score: boundary_iou, class: person, at_least: 0.45}
  - {score: labels_dropped, reason: truncated_data, at_most: 0}
  - {score: difference_lower, at_least: -0.005}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou import strict_yaml
from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.image_scores import IMAGE_FIELDS
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.paths import user_path
from deeplab_miou.strict_yaml import Checker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeplab_miou.metric.counts import Axes
    from deeplab_miou.strict_yaml import KeyPath

_WHAT = "criteria file"
_KEYS = ("score", "class", "region", "slice", "reason", "at_least", "at_most")
_MOST = 1e18
_MOST_CRITERIA = 1000


class _Score(NamedTuple):
    """Where a score is read from, and its range."""

    read_from: str  # report, images, class, mistakes, account, difference or latency
    least: float
    largest: float


_SHARE = _Score("report", 0, 1)
_CLASS = _Score("class", 0, 1)
_MISTAKES = _Score("mistakes", 0, 1)
_COUNT = _Score("account", 0, _MOST)
SCORES = {
    **dict.fromkeys((*HEADLINES, "miou_lower"), _SHARE),
    **dict.fromkeys(("iou", "iou_lower", "precision", "recall", "f1"), _CLASS),
    **dict.fromkeys(
        ("boundary_iou", "boundary_errors", "extent_errors", "segment_errors"), _MISTAKES
    ),
    **dict.fromkeys(
        (f"{name}{end}" for name in IMAGE_FIELDS.values() for end in ("", "_lower")),
        _Score("images", 0, 1),
    ),
    **dict.fromkeys(("images_evaluated", "labels_evaluated"), _Score("account", 0, 1)),
    **dict.fromkeys(("images_dropped", "labels_dropped"), _COUNT),
    **dict.fromkeys(("frames", "doubts"), _Score("report", 0, _MOST)),
    **dict.fromkeys(("difference", "difference_lower"), _Score("difference", -1, 1)),
    "latency_p95": _Score("latency", 0, 3600),
}
# Who judges what not everybody can.
ELSEWHERE = {"difference": "`deeplab-miou compare`", "latency": "miou_publisher"}


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


def read_criteria(
    file: str, *, differences: bool, latencies: bool = False
) -> tuple[Criterion, ...]:
    """Read a criteria file; no file has no criteria.

    Args:
        file: its path, empty for none.
        differences: whether two networks are compared.
        latencies: whether they will be known, because frames are scored as they arrive.

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
        for each, where in ELSEWHERE.items()
        if not (differences if each == "difference" else latencies)
    }
    if all(SCORES[each.score].read_from in elsewhere for each in found):
        places = dict.fromkeys(elsewhere[SCORES[each.score].read_from] for each in found)
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
        if kind in {_CLASS, _MISTAKES} and "class" not in item:
            self.fail(path, f"has no class, which {score} needs")
        of_class = {"class", "mistakes", "difference"}
        self._only_for(item, path, "class", fits=kind.read_from in of_class)
        self._only_for(item, path, "region", fits=kind.read_from == "class" or kind is _SHARE)
        fits_slice = kind.read_from == "class" or kind is _SHARE or score == "frames"
        self._only_for(item, path, "slice", fits=fits_slice)
        self._only_for(item, path, "reason", fits=kind is _COUNT)
        least, most = self._limits(item, path, kind)
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
            self.fail(
                (*path, "slice"), "cannot be combined with a region: slices are of the whole image"
            )
        return Criterion(score, name, reason, least, most, self.place(path), region, label)

    def _only_for(self, item: Mapping[str, object], path: KeyPath, key: str, *, fits: bool) -> None:
        if key in item and not fits:
            self.fail((*path, key), f"cannot be used with {item['score']}")

    def _limits(
        self, item: Mapping[str, object], path: KeyPath, kind: _Score
    ) -> tuple[float | None, float | None]:
        least, most = (self._limit(item, (*path, key), kind) for key in ("at_least", "at_most"))
        if least is None and most is None:
            self.fail(path, "has no at_least and no at_most")
        if least is not None and most is not None and least > most:
            self.fail((*path, "at_most"), f"is {most:g}, less than at_least, {least:g}")
        return least, most

    def _limit(self, item: Mapping[str, object], path: KeyPath, kind: _Score) -> float | None:
        if path[-1] not in item:
            return None
        return self.number(item[str(path[-1])], path, kind.least, kind.largest)
