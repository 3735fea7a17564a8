"""A report in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.image_scores import IMAGE_SCORES
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.metric.stamp_offsets import format_span
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.metric.bootstrap import Intervals
    from deeplab_miou.report.criteria import Judgement
    from deeplab_miou.report.report import BagResult, Report

_BAR_WIDTH = 20
# What is told in one line after the mIoU.
OTHER_SCORES = {name: words for name, words in HEADLINES.items() if name != "miou"}


def print_table(report: Report, console: Console) -> None:
    """Print classes, headline scores and the account of every message.

    Args:
        report: what to print.
        console: where to.
    """
    console.print(_class_table(report))
    console.print(_headline(report), soft_wrap=True)
    rest = [
        f"{name} {format_score(getattr(report.scores, key))}" for key, name in OTHER_SCORES.items()
    ]
    console.print(Text(", ".join(rest)), soft_wrap=True)
    for line in image_lines(report):
        console.print(Text(line), soft_wrap=True)
    _print_regions(report, console)
    _print_slices(report, console)
    for line in accounting_lines(report):
        console.print(Text(line), soft_wrap=True)
    print_criteria(report.criteria, console)
    for problem in report.problems:
        console.print(Text(f"incomplete: {printable(problem)}", "bold red"), soft_wrap=True)
    for doubt in report.doubts:
        console.print(Text(f"doubtful: {printable(doubt)}", "bold yellow"), soft_wrap=True)


def image_lines(report: Report) -> list[str]:
    """Return the means over frames, a line each; none where no frames are known."""
    if report.image_scores is None:
        return []
    scores = report.image_scores
    found = [(words, getattr(scores, key)) for key, words in IMAGE_SCORES.items()]
    # A reason that holds for all was given with the mIoU.
    common = scores.image.reason
    return [
        f"{words} {format_score(each.value)} {format_interval(each.lower, each.upper)}".rstrip()
        + (f" (no interval: {each.reason})" if each.reason and each.reason != common else "")
        for words, each in found
    ]


def _print_regions(report: Report, console: Console) -> None:
    for name, each in report.regions.items():
        interval = format_interval(*each.miou_interval)
        text = (
            f"region {printable(name)}: mIoU {format_score(each.scores.miou)} {interval}".rstrip()
        )
        console.print(Text(f"{text}, {each.counts.pixels:,} pixels"), soft_wrap=True)


def _print_slices(report: Report, console: Console) -> None:
    for tag, each in report.slices.items():
        interval = format_interval(*each.miou_interval)
        text = f"slice {printable(tag.label)}: mIoU {format_score(each.scores.miou)} {interval}"
        console.print(Text(f"{text.rstrip()}, {each.counts.frames} frames"), soft_wrap=True)


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


def accounting_lines(report: Report) -> list[str]:
    """Return one line for each stream, and one for pixels that were not scored."""
    lines = [_bags_line(report.bags)] if report.bags else []
    lines += [_stream_line(name, counts) for name, counts in report.account.streams.items()]
    offsets = report.offsets
    if offsets is not None and offsets.pairs and offsets.largest_s:
        median, largest = (
            f"{format_span(1e9 * abs(each))} {'after' if each > 0 else 'before'}"
            for each in (offsets.median_s, offsets.largest_s)
        )
        lines.append(f"stamps: labels lie {median} their images in the median, {largest} at most")
    invalid = int(report.counts.matrix[:, -1].sum())
    lines.append(
        f"pixels: {report.counts.pixels:,} scored ({invalid:,} with an invalid prediction), "
        f"{report.counts.ignored:,} ignored ({report.counts.unmapped:,} of unknown ids or colours)"
    )
    return [*lines, *depth_lines(report)]


def depth_lines(report: Report) -> list[str]:
    """Return what depth regions do not contain; nothing without any."""
    counts = report.counts
    if not len(counts.depth):
        return []
    depth = dict(zip(DEPTH, counts.depth.tolist(), strict=True))
    without, unusable = depth["frames_without_depth"], depth["frames_with_unusable_depth"]
    line = (
        f"depth: of {counts.frames} frames {without} have no depth image and {unusable} one that "
        f"cannot be used ({depth['pixels_without_depth']:,} labelled pixels); in the others "
        f"{depth['pixels_missing_depth']:,} labelled pixels have no depth, and "
        f"{depth['pixels_outside_depth']:,} lie outside all bands"
    )
    return [line]


def format_score(value: float) -> str:
    """Return a score with four decimals, a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def format_interval(lower: float, upper: float) -> str:
    """Return bounds in brackets; empty where there are none."""
    return "" if math.isnan(lower) or math.isnan(upper) else f"[{lower:.4f}, {upper:.4f}]"


def _class_table(report: Report) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "class", "", "IoU", "95 %", "precision", "recall", "F1", "pixels"):
        table.add_column(name, justify="left" if name in {"class", "", "95 %"} else "right")
    scores = report.scores
    for class_id, name in enumerate(report.class_names):
        iou = float(scores.iou[class_id])
        absent = math.isnan(iou)
        bar: RenderableType = Text("absent") if absent else Bar(1, 0, iou, width=_BAR_WIDTH)
        table.add_row(
            str(class_id),
            Text(printable(name)),
            bar,
            format_score(iou),
            format_interval(*report.iou_interval(class_id)),
            format_score(float(scores.precision[class_id])),
            format_score(float(scores.recall[class_id])),
            format_score(float(scores.f1[class_id])),
            f"{int(report.counts.matrix[class_id].sum()):,}",
            style="dim" if absent else "",
        )
    return table


def _headline(report: Report) -> Text:
    text = Text(f"mIoU {format_score(report.scores.miou)}", "bold")
    interval = format_interval(*report.miou_interval)
    if interval:
        text.append(f" {interval}")
    present = int(np.isfinite(report.scores.iou).sum())
    text.append(
        f" over {present} of {len(report.class_names)} classes, {report.counts.frames} frames"
    )
    if report.intervals is not None and report.intervals.reason:
        text.append(f" (no interval: {report.intervals.reason})")
    elif report.bags and report.intervals is not None:
        text.append(f" (95 % by {resampled(report.intervals)})")
    return text


def resampled(intervals: Intervals) -> str:
    """Return what intervals were drawn from."""
    return f"resampling {intervals.blocks} {intervals.unit}"


def _bags_line(bags: Sequence[BagResult]) -> str:
    counts = Counter(each.status for each in bags)
    return f"bags: {len(bags)} = {' + '.join(f'{n} {status}' for status, n in counts.items())}"


def _stream_line(name: str, counts: StreamCounts) -> str:
    parts = [f"{counts.evaluated} evaluated"]
    if counts.waiting:
        parts.append(f"{counts.waiting} waiting")
    parts += [f"{count} {printable(reason)}" for reason, count in counts.dropped.items()]
    return f"{name}: {counts.received} received = {' + '.join(parts)}"
