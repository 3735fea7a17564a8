"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deeplab_miou.metric.scores import divide
from deeplab_miou.report.report import STREAMS
from deeplab_miou.report.table import accounting_lines, format_interval, format_score, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.report.report import Report

# Beyond this many classes the matrix is a picture: a page of 20,000 SVG cells is slow.
_MOST_DRAWN_CLASSES = 40
_HEAT_RGB = (70, 125, 220)
_HEADLINES = (
    ("Weighted mIoU", "weighted_miou"),
    ("Frequency-weighted IoU", "frequency_weighted_iou"),
    ("Pixel accuracy", "pixel_accuracy"),
    ("Mean accuracy", "mean_accuracy"),
)


class _ClassRow(NamedTuple):
    """One class as the page shows it; bounds in percent of the bar."""

    id: int
    name: str
    iou: str
    interval: str
    precision: str
    recall: str
    f1: str
    pixels: int
    percent: float | None
    lower: float | None
    upper: float | None


class _Cell(NamedTuple):
    """One cell of the matrix."""

    row: int
    column: int
    share: float
    title: str


def render_page(report: Report) -> str:
    """Return the report as an HTML page.

    Every string from topics and files is escaped; nothing is loaded from elsewhere.

    Args:
        report: what to show.
    """
    # The suffix does not matter: everything is escaped.
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = [printable(name) for name in report.class_names]
    drawn = len(names) <= _MOST_DRAWN_CLASSES
    return environment.get_template("page.html").render(
        miou=format_score(report.scores.miou),
        interval=format_interval(*report.miou_interval),
        interval_reason=report.intervals.reason if report.intervals is not None else None,
        frames=report.frames,
        present=int(np.isfinite(report.scores.iou).sum()),
        headlines=[(name, format_score(getattr(report.scores, key))) for name, key in _HEADLINES],
        classes=_class_rows(report, names),
        names=names,
        cells=_cells(report.matrix, names) if drawn else [],
        picture="" if drawn else _picture(report.matrix),
        accounting=accounting_lines(report)[len(STREAMS) :],
        streams=_streams(report),
        problems=[printable(problem) for problem in report.problems],
        window=report.window,
        window_miou=format_score(report.window.scores.miou) if report.window else "",
        provenance=_provenance(report),
    )


def _class_rows(report: Report, names: list[str]) -> list[_ClassRow]:
    scores = report.scores
    return [
        _ClassRow(
            id=class_id,
            name=name,
            iou=format_score(float(scores.iou[class_id])),
            interval=format_interval(*report.iou_interval(class_id)),
            precision=format_score(float(scores.precision[class_id])),
            recall=format_score(float(scores.recall[class_id])),
            f1=format_score(float(scores.f1[class_id])),
            pixels=int(report.matrix[class_id].sum()),
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
            f"{names[row]} predicted as {columns[column]}: {int(matrix[row, column])} pixels, "
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


def _streams(report: Report) -> list[tuple[str, dict[str, object]]]:
    """Return for each stream its counts in one flat mapping."""
    rows = []
    for name in STREAMS:
        counts = dict(report.accounting.get(name, {}))
        dropped = counts.pop("dropped", {})
        counts |= dropped if isinstance(dropped, dict) else {}
        rows.append((name, {printable(key): value for key, value in counts.items()}))
    return rows


def _provenance(report: Report) -> list[tuple[str, str]]:
    return [
        (
            printable(str(key).replace("_", " ")),
            printable(value if isinstance(value, str) else json.dumps(value, default=str)),
        )
        for key, value in report.provenance.items()
        if value is not None
    ]
