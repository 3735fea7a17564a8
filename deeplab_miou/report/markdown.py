"""Markdown for a merge request, as GitHub and GitLab render it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.report.region_table import (
    region_rows,
    region_sentences,
    slice_rows,
    slice_sentences,
)
from deeplab_miou.report.wording import (
    OTHER_SCORES,
    accounting_lines,
    format_interval,
    format_score,
    image_lines,
    interval_notes,
    resampled,
    subject,
)
from deeplab_miou.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.report.judging import Judgement
    from deeplab_miou.report.report import Report

# GitHub takes 65,536 characters in a comment.
MOST_CLASSES = 200
_MOST_BAGS = 50
_MOST_LINES = 20
_LONGEST_LINE = 300
_LONGEST_NAME = 80
# What begins a block does so at the beginning only: a list, a heading, a quotation, a rule.
_SPECIAL = re.compile(r"[\\`*_\[\]<>~&]|^[-+=]|^#(?!\d)|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
# Mentions, issues, formulas, emoji and bare addresses are found whatever is escaped: a boundary
# between two elements hides them.
_FOUND = re.compile(
    r"[@$]|[#!%](?=\d)|(?<=\bGH)-(?=\d)|:(?=//|(?!\d\d:)[\w+-]+:)|(?<=www)\.", re.IGNORECASE
)
_MARKS = {True: "passed", False: "**FAILED**", None: "not checked"}


def to_markdown(report: Report, digest: str = "") -> str:
    """Return a report as Markdown: the score, what makes it doubtful, every class, the account.

    Args:
        report: what to show.
        digest: SHA-256 of the JSON file that it belongs to; empty if there is none.
    """
    result, intervals = report.result, report.result.intervals
    present = int(np.isfinite(result.scores.iou).sum())
    bounds = format_interval(*result.miou_interval)
    headline = f"**mIoU {format_score(result.scores.miou)}**"
    headline += f", 95 % interval {bounds}" if bounds else ""
    totals = result.totals
    headline += f", {present} of {len(totals.class_names)} classes"
    headline += f", {plural(totals.counts.frames, 'frame')}"
    if intervals is not None and intervals.reason:
        headline += f" (no interval: {escape(intervals.reason)})"
    elif intervals is not None and report.bags:
        headline += f" (by {resampled(intervals)})"
    rest = [
        f"{title} {format_score(getattr(result.scores, key))}"
        for key, title in OTHER_SCORES.items()
    ]
    blocks = [
        headline,
        escape(subject(report)),
        *quoted("Incomplete", report.problems),
        *quoted("Doubtful", report.doubts),
        bullets(criteria(report.criteria)),
        _bags(report),
        _classes(result),
        _regions(result),
        bullets(map(escape, interval_notes(result.regions.items()))),
        bullets(escape(line) for line in region_sentences(result)),
        _slices(result),
        bullets(
            map(escape, interval_notes((tag.label, each) for tag, each in result.slices.items()))
        ),
        bullets(escape(line) for line in slice_sentences(result)),
        ", ".join([*rest, *map(escape, image_lines(result))]),
        bullets(escape(line) for line in accounting_lines(report)),
        f"<!-- sha256 of report.json: {digest} -->" if digest else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: str) -> str:
    """Return text of any origin as one line that is shown as it is, also in a table."""
    escaped = _SPECIAL.sub(r"\\\g<0>", printable(text))
    escaped = _FOUND.sub(r"<span>\g<0></span>", escaped)
    # In a table, a backslash before a bar may itself be escaped; an entity is never a border.
    return escaped.replace("|", "&#124;")


def name(text: str) -> str:
    """Return the name of a class, a bag or a network as a cell."""
    return escape(_shorter(text, _LONGEST_NAME))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its first column is text, the others are numbers.

    Args:
        columns: headings.
        rows: cells, already Markdown.
    """
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(lines: Iterable[str]) -> str:
    """Return a list of lines that are already Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def criteria(judgements: Iterable[Judgement]) -> list[str]:
    """Return a line for each criterion and what became of it."""
    return [f"{_MARKS[each.passed]}: {escape(each.line)}" for each in judgements]


def quoted(title: str, lines: Sequence[str]) -> list[str]:
    """Return a quotation for each line; of many only the first.

    Args:
        title: what they are, empty for nothing.
        lines: of any origin.
    """
    head = f"**{title}:** " if title else ""
    blocks = [f"> {head}{escape(_shorter(line, _LONGEST_LINE))}" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        blocks.append(f"> {head}{len(lines) - _MOST_LINES:,} more, all in the JSON file")
    return blocks


def _shorter(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"


def _classes(result: Result) -> str:
    scores = result.scores
    ids = list(range(len(result.totals.class_names)))
    text = ""
    if len(ids) > MOST_CLASSES:
        # NaN sorts last: classes that do not occur are left out first.
        ids = sorted(np.argsort(scores.iou, kind="stable")[:MOST_CLASSES].tolist())
        text = f"The {MOST_CLASSES} weakest of {len(result.totals.class_names):,} classes:\n\n"
    rows = (
        (
            name(result.totals.class_names[k]),
            format_score(float(scores.iou[k])),
            format_interval(*result.iou_interval(k)),
            format_score(float(scores.precision[k])),
            format_score(float(scores.recall[k])),
            f"{int(result.totals.counts.matrix[k].sum()):,}",
        )
        for k in ids
    )
    return text + table(("class", "IoU", "95 %", "precision", "recall", "pixels"), rows)


def _regions(result: Result) -> str:
    rows = ((name(each.name), each.miou, each.interval, each.share) for each in region_rows(result))
    columns = ("region", "mIoU", "95 %", "of the labelled pixels")
    return table(columns, rows) if result.regions else ""


def _slices(result: Result) -> str:
    rows = (
        (name(each.name), each.miou, each.interval, f"{each.frames:,}")
        for each in slice_rows(result)
    )
    return table(("slice", "mIoU", "95 %", "frames"), rows) if result.slices else ""


def _bags(report: Report) -> str:
    if not report.bags:
        return ""
    # Those without a score first, then the lowest.
    order = sorted(report.bags, key=lambda each: -math.inf if math.isnan(each.miou) else each.miou)
    rows = (
        (
            name(each.name),
            format_score(each.miou),
            format_interval(each.miou_lower, each.miou_upper),
            f"{each.frames:,}",
            "" if each.status == "evaluated" else each.status,
        )
        for each in order[:_MOST_BAGS]
    )
    more = len(order) - _MOST_BAGS
    text = table(("bag", "mIoU", "95 %", "frames", ""), rows)
    return text + (f"\n\n{more:,} more bags, with a higher mIoU" if more > 0 else "")
