"""A report in the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.bar import Bar
from rich.text import Text

from deeplab_miou.report.columns import Column, table_of
from deeplab_miou.report.wording import (
    OTHER_SCORES,
    accounting_lines,
    format_interval,
    format_score,
    image_lines,
    interval_notes,
    resampled,
)
from deeplab_miou.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.report.judging import Judgement
    from deeplab_miou.report.report import Report

_BAR_WIDTH = 20


def print_report(report: Report, console: Console) -> None:
    """Print classes, headline scores and the account of every message.

    Args:
        report: what to print.
        console: where to.
    """
    console.print(_class_table(report.result, console))
    console.print(_headline(report), soft_wrap=True)
    rest = [
        f"{name} {format_score(getattr(report.result.scores, key))}"
        for key, name in OTHER_SCORES.items()
    ]
    console.print(Text(", ".join(rest)), soft_wrap=True)
    for line in image_lines(report.result):
        console.print(Text(line), soft_wrap=True)
    _print_regions(report.result, console)
    _print_slices(report.result, console)
    for line in accounting_lines(report):
        console.print(Text(line), soft_wrap=True)
    print_criteria(report.criteria, console)
    for problem in report.problems:
        console.print(Text(f"incomplete: {printable(problem)}", "bold red"), soft_wrap=True)
    for doubt in report.doubts:
        console.print(Text(f"doubtful: {printable(doubt)}", "bold yellow"), soft_wrap=True)


def _print_regions(result: Result, console: Console) -> None:
    for name, each in result.regions.items():
        interval = format_interval(*each.miou_interval)
        text = (
            f"region {printable(name)}: mIoU {format_score(each.scores.miou)} {interval}".rstrip()
        )
        console.print(Text(f"{text}, {each.totals.counts.pixels:,} pixels"), soft_wrap=True)
    for note in interval_notes(result.regions.items()):
        console.print(Text(printable(note)), soft_wrap=True)


def _print_slices(result: Result, console: Console) -> None:
    for tag, each in result.slices.items():
        interval = format_interval(*each.miou_interval)
        text = f"slice {printable(tag.label)}: mIoU {format_score(each.scores.miou)} {interval}"
        console.print(
            Text(f"{text.rstrip()}, {plural(each.totals.counts.frames, 'frame')}"), soft_wrap=True
        )
    for note in interval_notes((tag.label, each) for tag, each in result.slices.items()):
        console.print(Text(printable(note)), soft_wrap=True)


def print_criteria(judgements: Sequence[Judgement], console: Console) -> None:
    """Print the criteria and their outcomes."""
    for each in judgements:
        mark = "-" if each.passed is None else "passed" if each.passed else "FAILED"
        style = "bold red" if each.passed is False else ""
        console.print(Text(f"{mark:<6} {printable(each.line)}", style), soft_wrap=True)


def complain(judgements: Sequence[Judgement], errors: Console) -> None:
    """Print a line for each criterion that was missed."""
    for each in judgements:
        if each.passed is False:
            errors.print(f"deeplab-miou: not good enough: {printable(each.line)}", markup=False)


def _class_table(result: Result, console: Console) -> Table:
    scores = result.scores
    names, ious = result.totals.class_names, scores.iou.tolist()
    bars: list[RenderableType] = [
        Text("absent") if math.isnan(iou) else Bar(1, 0, iou, width=_BAR_WIDTH) for iou in ious
    ]
    pixels = [f"{int(row.sum()):,}" for row in result.totals.counts.matrix]
    intervals = [format_interval(*result.iou_interval(k)) for k in range(len(names))]
    columns = [
        Column("id", list(map(str, range(len(names)))), rank=1),
        Column("class", [Text(printable(name)) for name in names], narrowest=12, justify="left"),
        Column("", bars, narrowest=6, rank=6, justify="left"),
        Column("IoU", list(map(format_score, ious))),
        Column("95 %", intervals, narrowest=9, justify="left"),
        Column("precision", list(map(format_score, scores.precision.tolist())), rank=4),
        Column("recall", list(map(format_score, scores.recall.tolist())), rank=3),
        Column("F1", list(map(format_score, scores.f1.tolist())), rank=5),
        Column("pixels", pixels, rank=2),
    ]
    return table_of(columns, ["dim" if math.isnan(iou) else "" for iou in ious], console)


def _headline(report: Report) -> Text:
    result = report.result
    text = Text(f"mIoU {format_score(result.scores.miou)}", "bold")
    interval = format_interval(*result.miou_interval)
    if interval:
        text.append(f" {interval}")
    present = int(np.isfinite(result.scores.iou).sum())
    totals = result.totals
    text.append(f" over {present} of {len(totals.class_names)} classes")
    text.append(f", {plural(totals.counts.frames, 'frame')}")
    if result.intervals is not None and result.intervals.reason:
        text.append(f" (no interval: {result.intervals.reason})")
    elif report.bags and result.intervals is not None:
        text.append(f" (95 % by {resampled(result.intervals)})")
    return text
