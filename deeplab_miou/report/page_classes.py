"""The classes of a result as the page shows them: in the summary, the table and by mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.metric.error_types import TYPES, mistake_shares
from deeplab_miou.report.wording import format_interval, format_score

if TYPE_CHECKING:
    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.report.report import Report

# With fewer classes the table says it all.
_FEWEST_COMPARED = 4


class ClassRow(NamedTuple):
    """One class as the page shows it; bounds in percent of the bar."""

    id: int
    name: str
    iou: str
    interval: str
    precision: str
    recall: str
    f1: str
    pixels: str
    low: bool
    color: str
    percent: float | None
    lower: float | None
    upper: float | None


class ClassSummary(NamedTuple):
    """A class in the summary, with the mistake that costs it most."""

    name: str
    iou: str
    mistake: str


def class_rows(report: Report, names: list[str], weakest: list[int]) -> list[ClassRow]:
    """Return a row for each class; the weakest are marked."""
    result, scores, palette = report.result, report.result.scores, report.palette
    return [
        ClassRow(
            id=class_id,
            name=name,
            iou=format_score(float(scores.iou[class_id])),
            interval=format_interval(*result.iou_interval(class_id)),
            precision=format_score(float(scores.precision[class_id])),
            recall=format_score(float(scores.recall[class_id])),
            f1=format_score(float(scores.f1[class_id])),
            pixels=f"{int(result.totals.counts.matrix[class_id].sum()):,}",
            low=class_id in weakest,
            color="" if palette is None else "rgb({}, {}, {})".format(*palette[class_id].tolist()),
            percent=_percent(float(scores.iou[class_id])),
            lower=_percent(result.iou_interval(class_id)[0]),
            upper=_percent(result.iou_interval(class_id)[1]),
        )
        for class_id, name in enumerate(names)
    ]


def _percent(value: float) -> float | None:
    return round(100 * value, 2) if np.isfinite(value) else None


def find_extremes(result: Result) -> tuple[list[int], int | None]:
    """Return the ids of the weakest classes and of the strongest; none if there are few classes."""
    present = np.flatnonzero(np.isfinite(result.scores.iou)).tolist()
    if len(present) < _FEWEST_COMPARED:
        return [], None
    ascending = sorted(present, key=lambda each: float(result.scores.iou[each]))
    return ascending[:2], ascending[-1]


def summarise_class(result: Result, names: list[str], class_id: int) -> ClassSummary:
    """Return a class with the mistake that costs it most."""
    matrix = result.totals.counts.matrix
    missed, taken = matrix[class_id].copy(), matrix[:, class_id].copy()
    missed[class_id] = taken[class_id] = 0
    mistake = ""
    if missed.max() >= taken.max() and missed.any():
        other = int(missed.argmax())
        mistake = f"taken for {names[other]}" if other < len(names) else "predicted as no class"
    elif taken.any():
        mistake = f"{names[int(taken.argmax())]} taken for it"
    return ClassSummary(names[class_id], format_score(float(result.scores.iou[class_id])), mistake)


def mistake_rows(result: Result, names: list[str]) -> list[dict[str, object]]:
    """Return for each class that occurs the types of its mistakes; nothing if not counted."""
    counts = result.totals.counts
    if not len(counts.mistakes):
        return []
    shares = mistake_shares(counts)
    rows: list[dict[str, object]] = []
    for k, name in enumerate(names):
        values = {"right": float(result.scores.iou[k])}
        values |= {kind: float(shares[kind][k]) for kind in TYPES}
        if not all(map(np.isfinite, values.values())):
            continue
        ends = np.cumsum([0.0, *values.values()]) * 200
        parts = [
            {"kind": kind, "start": round(start, 2), "width": round(end - start, 2)}
            for kind, start, end in zip(values, ends[:-1], ends[1:], strict=True)
        ]
        texts = {kind: format_score(value) for kind, value in values.items()}
        boundary_iou = format_score(float(shares["boundary_iou"][k]))
        rows.append(
            {
                "name": name,
                "parts": parts,
                "iou": texts["right"],
                "boundary_iou": boundary_iou,
                **texts,
            }
        )
    return rows
