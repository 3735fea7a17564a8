"""A comparison on disk: JSON, Markdown for a merge request, and a page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.comparison.report import to_json
from deeplab_miou.paths import user_path
from deeplab_miou.report import files, markdown
from deeplab_miou.report.page import jpeg_uri
from deeplab_miou.report.stamps import format_time
from deeplab_miou.report.templates import page_template
from deeplab_miou.report.wording import format_score
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.comparison.changes import ChangedFrame
    from deeplab_miou.comparison.difference import Difference
    from deeplab_miou.comparison.report import Comparison

JSON_NAME = "compare.json"
MARKDOWN_NAME = "compare.md"
HTML_NAME = "compare.html"


def write_comparison(comparison: Comparison, folder: Path | str) -> list[Path]:
    """Write ``compare.json``, ``compare.md`` and ``compare.html``; return their paths.

    Raises:
        DeeplabMiouError: they cannot be written; files that were there before are untouched.
    """
    folder = user_path(folder)
    texts = {
        folder / JSON_NAME: to_json(comparison),
        folder / MARKDOWN_NAME: to_markdown(comparison),
        folder / HTML_NAME: render_page(comparison),
    }
    files.write_together(texts)
    return list(texts)


def to_markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown: the verdict, its numbers, every class."""
    difference = comparison.difference
    before, after = (format_score(float(each[0])) for each in (difference.a, difference.b))
    gap = f"{format_signed(difference.value[0])} {format_bounds(difference.bounds.fixed[0])}"
    rows = (
        (
            markdown.name(row.name),
            row.a,
            row.b,
            row.difference,
            row.bounds,
            "" if row.verdict == "no evidence" else row.verdict,
        )
        for row in class_rows(comparison)[: markdown.MOST_CLASSES]
    )
    a, b = (markdown.name(each.name) for each in (comparison.a, comparison.b))
    blocks = [
        f"**{comparison.sentence}.**",
        f"mIoU {before} → {after}, difference {gap}",
        f"A: {a}, B: {b}",
        comparison.pixel_line,
        markdown.bullets(map(markdown.escape, map(printable, comparison.remarks))),
        *markdown.quoted("", comparison.cautions),
        markdown.bullets(markdown.criteria(comparison.criteria)),
        markdown.table(("class", "A", "B", "B - A", "95 %", ""), rows),
        _slices(comparison),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _slices(comparison: Comparison) -> str:
    rows = [
        (markdown.name(row.name), row.a, row.b, row.difference, row.bounds, f"{row.frames:,}")
        for row in slice_rows(comparison)
    ]
    return markdown.table(("slice", "A", "B", "B - A", "95 %", "frames"), rows) if rows else ""


def render_page(comparison: Comparison) -> str:
    """Return a comparison as one HTML page that needs nothing else."""
    difference = comparison.difference
    return page_template(Path(__file__).with_name("compare.html")).render(
        sentence=comparison.sentence,
        verdict=difference.verdict(),
        value=format_signed(difference.value[0]),
        bounds=format_bounds(difference.bounds.fixed[0]),
        reason=difference.bounds.reason,
        many=comparison.common.is_many,
        criteria=[(printable(each.line), each.passed) for each in comparison.criteria],
        resampled=f"{difference.bounds.blocks} {difference.bounds.unit}",
        anytime=format_bounds(difference.bounds.anytime[0]),
        anytime_reason=difference.bounds.anytime_reason,
        miou_a=format_score(float(difference.a[0])),
        miou_b=format_score(float(difference.b[0])),
        a=printable(comparison.a.name),
        b=printable(comparison.b.name),
        cautions=[printable(each) for each in comparison.cautions],
        rows=class_rows(comparison),
        scale=_scale(difference),
        slices=slice_rows(comparison),
        pixel_line=comparison.pixel_line,
        remarks=[printable(each) for each in comparison.remarks],
        disagreeing=[
            (format_time(each.stamp_ns), f"{each.disagreement:.1%}", jpeg_uri(each.picture))
            for each in comparison.disagreeing
        ],
        worse=[_frame(each) for each in comparison.common.changed.worse],
        better=[_frame(each) for each in comparison.common.changed.better],
    )


class ClassRow(NamedTuple):
    """One class; positions in percent of the drawing's width, its middle being no difference."""

    name: str
    a: str
    b: str
    difference: str
    bounds: str
    verdict: str
    place: float | None
    lower: float | None
    upper: float | None
    became_right: str
    became_wrong: str


class _Frame(NamedTuple):
    """A frame that changed."""

    bag: str
    stamp: str
    a: str
    b: str
    pixels: str
    picture: str


def class_rows(comparison: Comparison) -> list[ClassRow]:
    """Return the classes, those that lost most first and absent ones last."""
    difference = comparison.difference
    scale = _scale(difference)
    pixels = comparison.common.pixels
    order = np.argsort(difference.value[1:], kind="stable")

    def place(value: float) -> float | None:
        return None if math.isnan(value) else round(50 + 50 * value / scale, 2)

    return [
        ClassRow(
            printable(comparison.class_names[i]),
            format_score(float(difference.a[1 + i])),
            format_score(float(difference.b[1 + i])),
            format_signed(difference.value[1 + i]),
            format_bounds(difference.bounds.fixed[1 + i]),
            difference.verdict(1 + i),
            place(float(difference.value[1 + i])),
            place(float(difference.bounds.fixed[1 + i, 0])),
            place(float(difference.bounds.fixed[1 + i, 1])),
            "" if pixels is None else f"{int(pixels.right[i]):,}",
            "" if pixels is None else f"{int(pixels.wrong[i]):,}",
        )
        for i in order.tolist()
    ]


class SliceRow(NamedTuple):
    """The frames that have a tag in common."""

    name: str
    frames: int
    a: str
    b: str
    difference: str
    bounds: str
    verdict: str
    reason: str


def slice_rows(comparison: Comparison) -> list[SliceRow]:
    """Return the slices, those that lost most first."""
    return [
        SliceRow(
            printable(tag.label),
            frames,
            format_score(float(found.a[0])),
            format_score(float(found.b[0])),
            format_signed(found.value[0]),
            format_bounds(found.bounds.fixed[0]),
            found.verdict(),
            found.bounds.reason or "",
        )
        for tag, frames, found in comparison.slices
    ]


def _scale(difference: Difference) -> float:
    """Return the difference that the drawing's edge stands for: a round one that holds all."""
    greatest = float(np.nanmax(np.abs([difference.value, *difference.bounds.fixed.T]), initial=0.0))
    return next(each for each in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if each >= greatest)


def _frame(frame: ChangedFrame) -> _Frame:
    return _Frame(
        printable(frame.bag),
        format_time(frame.stamp_ns),
        format_score(frame.a),
        format_score(frame.b),
        f"{frame.pixels:+,}",
        "" if frame.picture is None else jpeg_uri(frame.picture),
    )


def format_signed(value: float) -> str:
    """Return a difference with its sign, a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:+.4f}"


def format_bounds(bounds: Sequence[float]) -> str:
    """Return the bounds of a difference in brackets; empty where there are none."""
    lower, upper = bounds
    return "" if math.isnan(lower) else f"[{lower:+.4f}, {upper:+.4f}]"
