"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import cv2
import numpy as np

from deeplab_miou.metric.error_types import TYPES, mistake_shares
from deeplab_miou.metric.image_scores import IMAGE_SCORES
from deeplab_miou.metric.scores import divide
from deeplab_miou.report.course import course, moment, seconds
from deeplab_miou.report.region_table import (
    region_rows,
    region_sentences,
    slice_rows,
    slice_sentences,
)
from deeplab_miou.report.table import (
    OTHER_SCORES,
    accounting_lines,
    depth_lines,
    format_interval,
    format_score,
    resampled,
)
from deeplab_miou.report.templates import page_template
from deeplab_miou.text import capitalized, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.metric.image_scores import Estimate
    from deeplab_miou.report.report import Report

# Beyond this many classes the matrix is a picture: a page of 20,000 SVG cells is slow.
_MOST_DRAWN_CLASSES = 40
_LONGEST_DRAWN_NAME = 22
_HEAT_RGB = (70, 125, 220)
# With fewer classes the table says it all.
_FEWEST_COMPARED = 4


class _ClassRow(NamedTuple):
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


class _Cell(NamedTuple):
    """One cell of the matrix."""

    row: int
    column: int
    share: float
    opacity: float
    title: str


class _Weak(NamedTuple):
    """A class of the summary."""

    name: str
    iou: str
    mistake: str


class _Bag(NamedTuple):
    """A bag as the page shows it."""

    name: str
    folder: str
    status: str
    miou: str
    interval: str
    frames: int
    problem: str


class _Worst(NamedTuple):
    """A frame as the page shows it."""

    stamp: str
    moment: str
    source: str
    miou: str
    wrong: str
    mistake: str
    picture: str


def render_page(report: Report, digest: str = "") -> str:
    """Return the report as an HTML page.

    Every string from topics and files is escaped; nothing is loaded from elsewhere.

    Args:
        report: what to show.
        digest: SHA-256 of the JSON file that it belongs to; empty if there is none.
    """
    names = [printable(name) for name in report.class_names]
    drawn = len(names) <= _MOST_DRAWN_CLASSES
    weakest, strongest = _extremes(report, names)
    return page_template(Path(__file__).with_name("page.html")).render(
        miou=format_score(report.scores.miou),
        interval=format_interval(*report.miou_interval),
        interval_reason=report.intervals.reason if report.intervals is not None else None,
        frames=report.counts.frames,
        present=int(np.isfinite(report.scores.iou).sum()),
        subject=subject(report),
        weakest=[_weak(report, names, each) for each in weakest],
        strongest=None if strongest is None else _weak(report, names, strongest),
        headlines=_headlines(report),
        classes=_class_rows(report, names, weakest),
        course=course(report.timeline, report.scores.miou, report.worst_frames),
        mistakes=_mistakes(report, names),
        regions=[each._replace(name=printable(each.name)) for each in region_rows(report)],
        depth_lines=depth_lines(report),
        region_sentences=[printable(each) for each in region_sentences(report)],
        slices=[each._replace(name=printable(each.name)) for each in slice_rows(report)],
        slice_sentences=[printable(each) for each in slice_sentences(report)],
        region_frames=[
            (printable(name), frame)
            for name, each in report.regions.items()
            for frame in _worst(each, names)
            if frame.picture
        ],
        worst=_worst(report, names),
        evaluators=len({frame.source for frame in report.worst_frames}),
        pictured=len(report.pictures) > 0,
        names=names,
        longest=min(max(map(len, [*names, "invalid"])), _LONGEST_DRAWN_NAME),
        cells=_cells(report.counts.matrix, names) if drawn else [],
        picture="" if drawn else _picture(report.counts.matrix),
        accounting=_other_lines(report),
        bags=_bags(report),
        criteria=[(printable(each.line), each.passed) for each in report.criteria],
        resampled=resampled(report.intervals) if report.bags and report.intervals else "",
        streams=_streams(report),
        problems=[printable(problem) for problem in report.problems],
        doubts=report.doubts,
        provenance=_provenance(report, digest),
    )


def _other_lines(report: Report) -> list[str]:
    """Return the lines of the account that the page has no table for."""
    return accounting_lines(report)[len(report.account.streams) + bool(report.bags) :]


def _bags(report: Report) -> list[_Bag]:
    """Return the bags, the lowest mIoU first and those without one before them."""
    order = sorted(report.bags, key=lambda each: -math.inf if math.isnan(each.miou) else each.miou)
    return [
        _Bag(
            printable(each.name),
            "" if each.status == "failed" else f"bags/{quote(each.name, errors='surrogateescape')}",
            each.status,
            format_score(each.miou),
            format_interval(each.miou_lower, each.miou_upper),
            each.frames,
            printable(each.problem),
        )
        for each in order
    ]


def _extremes(report: Report, names: list[str]) -> tuple[list[int], int | None]:
    """Return the ids of the weakest classes and of the strongest; none if there are few classes."""
    present = [each for each in range(len(names)) if np.isfinite(report.scores.iou[each])]
    if len(present) < _FEWEST_COMPARED:
        return [], None
    ascending = sorted(present, key=lambda each: float(report.scores.iou[each]))
    return ascending[:2], ascending[-1]


def _weak(report: Report, names: list[str], class_id: int) -> _Weak:
    """Return a class with the mistake that costs it most."""
    missed, taken = report.counts.matrix[class_id].copy(), report.counts.matrix[:, class_id].copy()
    missed[class_id] = taken[class_id] = 0
    mistake = ""
    if missed.max() >= taken.max() and missed.any():
        other = int(missed.argmax())
        mistake = f"taken for {names[other]}" if other < len(names) else "predicted as no class"
    elif taken.any():
        mistake = f"{names[int(taken.argmax())]} taken for it"
    return _Weak(names[class_id], format_score(float(report.scores.iou[class_id])), mistake)


def _mistakes(report: Report, names: list[str]) -> list[dict[str, object]]:
    """Return for each class that occurs the types of its mistakes; nothing if not counted."""
    if not len(report.counts.mistakes):
        return []
    shares = mistake_shares(report.counts)
    rows: list[dict[str, object]] = []
    for k, name in enumerate(names):
        values = {"right": float(report.scores.iou[k])}
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


def _headlines(report: Report) -> list[tuple[str, str]]:
    weighted = report.scores.weighted_miou
    same = weighted == report.scores.miou or np.isnan(weighted)
    tiles = [
        (capitalized(words), format_score(getattr(report.scores, name)))
        for name, words in OTHER_SCORES.items()
        if not (same and name == "weighted_miou")
    ]
    if report.image_scores is not None:
        found = [(words, getattr(report.image_scores, key)) for key, words in IMAGE_SCORES.items()]
        tiles += [
            (f"{capitalized(words)} {_bounds(each)}".rstrip(), format_score(each.value))
            for words, each in found
        ]
    if report.window is not None and report.window.scores is not None:
        text = f"mIoU, newest {report.window.totals.counts.frames} frames"
        tiles.append((text, format_score(report.window.scores.miou)))
    return tiles


def _bounds(each: Estimate) -> str:
    """Return the interval of a mean, or why there is none."""
    return (
        f"(no interval: {each.reason})" if each.reason else format_interval(each.lower, each.upper)
    )


def subject(report: Report) -> str:
    """Return what was scored, in a few words."""
    known = report.provenance
    checkpoint = str(known.get("checkpoint") or known.get("input_topic") or "")
    bags = known.get("bags")
    where = [str(each) for each in bags] if isinstance(bags, list) else []
    sources = known.get("sources")
    if not where and isinstance(sources, list):
        where = [str(each) for each in sources]
    parts = [Path(checkpoint).name, ", ".join(where), known.get("mode"), known.get("ended")]
    return printable("; ".join(str(part) for part in parts if part))


def _worst(report: Report, names: list[str]) -> list[_Worst]:
    rows = []
    for index, frame in enumerate(report.worst_frames):
        truth, prediction, pixels = frame.confusion
        instead = names[prediction] if prediction < len(names) else "no class"
        rows.append(
            _Worst(
                seconds(frame.stamp_ns),
                moment(frame.stamp_ns),
                printable(frame.source),
                format_score(frame.miou),
                f"{frame.wrong:.1%}",
                f"{pixels:,} pixels of {names[truth]} taken for {instead}" if pixels else "",
                jpeg_uri(report.pictures[index]) if index < len(report.pictures) else "",
            )
        )
    return rows


def jpeg_uri(picture: NDArray[np.uint8]) -> str:
    """Return a uint8 RGB picture as a data URI."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), quality)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _class_rows(report: Report, names: list[str], weakest: list[int]) -> list[_ClassRow]:
    scores, palette = report.scores, report.palette
    return [
        _ClassRow(
            id=class_id,
            name=name,
            iou=format_score(float(scores.iou[class_id])),
            interval=format_interval(*report.iou_interval(class_id)),
            precision=format_score(float(scores.precision[class_id])),
            recall=format_score(float(scores.recall[class_id])),
            f1=format_score(float(scores.f1[class_id])),
            pixels=f"{int(report.counts.matrix[class_id].sum()):,}",
            low=class_id in weakest,
            color="" if palette is None else "rgb({}, {}, {})".format(*palette[class_id].tolist()),
            percent=_percent(float(scores.iou[class_id])),
            lower=_percent(report.iou_interval(class_id)[0]),
            upper=_percent(report.iou_interval(class_id)[1]),
        )
        for class_id, name in enumerate(names)
    ]


def _percent(value: float) -> float | None:
    return round(100 * value, 2) if np.isfinite(value) else None


def _cells(matrix: NDArray[np.int64], names: list[str]) -> list[_Cell]:
    """Return the cells that are not empty; a row's shares sum to one."""
    shares = _shares(matrix)
    columns = [*names, "invalid prediction"]
    return [
        _Cell(
            int(row),
            int(column),
            round(float(shares[row, column]), 4),
            # Mistakes are rare: on the scale of the diagonal they would hardly show.
            round(float(shares[row, column]) ** (1.0 if row == column else 0.5), 4),
            f"{names[row]} predicted as {columns[column]}: {int(matrix[row, column]):,} pixels, "
            f"{shares[row, column]:.2%}",
        )
        for row, column in np.argwhere(matrix)
    ]


def _picture(matrix: NDArray[np.int64]) -> str:
    """Return the matrix as a data URI: one pixel a cell, its share as opacity."""
    pixels = np.empty((*matrix.shape, 4), np.uint8)
    pixels[..., :3] = _HEAT_RGB[::-1]
    pixels[..., 3] = np.rint(255 * _shares(matrix))
    _, data = cv2.imencode(".png", pixels)
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"


def _shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.nan_to_num(divide(matrix, matrix.sum(axis=1, keepdims=True)))


def _streams(report: Report) -> list[tuple[str, dict[str, int]]]:
    """Return for each stream its counts in one flat mapping."""
    return [
        (
            name,
            {
                "received": counts.received,
                "evaluated": counts.evaluated,
                "waiting": counts.waiting,
                **{printable(reason): number for reason, number in counts.dropped.items()},
            },
        )
        for name, counts in report.account.streams.items()
    ]


def _provenance(report: Report, digest: str) -> list[tuple[str, str]]:
    rows = [
        (
            printable(str(key).replace("_", " ")),
            printable(value if isinstance(value, str) else json.dumps(value, default=str)),
        )
        for key, value in report.provenance.items()
        if value is not None
    ]
    return [*rows, ("sha256 of report.json", digest)] if digest else rows
