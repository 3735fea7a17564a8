"""The wording of a result, wherever it is shown: in the terminal, on a page, in a log line."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.image_scores import IMAGE_SCORES
from deeplab_miou.metric.scores import HEADLINES
from deeplab_miou.metric.stamp_offsets import format_span
from deeplab_miou.report.provenance import scored_name
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.metric.bootstrap import Intervals
    from deeplab_miou.report.report import BagResult, Report

# What is shown in one line after the mIoU.
OTHER_SCORES = {name: words for name, words in HEADLINES.items() if name != "miou"}


def subject(report: Report) -> str:
    """Return what was scored, in a few words."""
    known = report.provenance
    bags = known.get("bags")
    where = [str(each) for each in bags] if isinstance(bags, list) else []
    sources = known.get("sources")
    if not where and isinstance(sources, list):
        where = [str(each) for each in sources]
    parts = [scored_name(known), ", ".join(where), known.get("mode"), known.get("ended")]
    return printable("; ".join(str(part) for part in parts if part))


def image_lines(result: Result) -> list[str]:
    """Return the means over frames, a line each; none where no frames are known."""
    if result.image_scores is None:
        return []
    scores = result.image_scores
    found = [(words, getattr(scores, key)) for key, words in IMAGE_SCORES.items()]
    # A reason that holds for all was given with the mIoU.
    common = scores.image.reason
    return [
        f"{words} {format_score(each.value)} {format_interval(each.lower, each.upper)}".rstrip()
        + (f" (no interval: {each.reason})" if each.reason and each.reason != common else "")
        for words, each in found
    ]


def interval_notes(named: Iterable[tuple[str, Result]]) -> list[str]:
    """Return why some of the parts of a score have no interval, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, each in named:
        if each.intervals is not None and each.intervals.reason:
            reasons.setdefault(each.intervals.reason, []).append(name)
    return [f"no interval for {', '.join(names)}: {why}" for why, names in reasons.items()]


def accounting_lines(report: Report) -> list[str]:
    """Return one line for each stream, and one for pixels that were not scored."""
    result = report.result
    lines = [_bags_line(report.bags)] if report.bags else []
    lines += [_stream_line(name, counts) for name, counts in result.totals.account.streams.items()]
    offsets = result.offsets
    if offsets is not None and offsets.pairs and offsets.largest_s:
        median, largest = (
            f"{format_span(1e9 * abs(each))} {'after' if each > 0 else 'before'}"
            for each in (offsets.median_s, offsets.largest_s)
        )
        lines.append(f"stamps: labels are {median} their images in the median, {largest} at most")
    counts = result.totals.counts
    invalid = int(counts.matrix[:, -1].sum())
    lines.append(
        f"pixels: {counts.pixels:,} scored ({invalid:,} with an invalid prediction), "
        f"{counts.ignored:,} ignored ({counts.unmapped:,} of unknown ids or colours)"
    )
    return [*lines, *depth_lines(result)]


def depth_lines(result: Result) -> list[str]:
    """Return what depth regions do not contain; nothing without any."""
    counts = result.totals.counts
    if not len(counts.depth):
        return []
    return [depth_line(counts.frames, dict(zip(DEPTH, counts.depth.tolist(), strict=True)))]


def depth_line(frames: int, depth: Mapping[str, int]) -> str:
    """Return what depth regions do not contain.

    Args:
        frames: that were scored.
        depth: what is counted, by the names in `DEPTH`.
    """
    without, unusable = depth["frames_without_depth"], depth["frames_with_unusable_depth"]
    return (
        f"depth: of {frames} frames {without} have no depth image and {unusable} one that "
        f"cannot be used ({depth['pixels_without_depth']:,} labelled pixels); in the others "
        f"{depth['pixels_missing_depth']:,} labelled pixels have no depth, and "
        f"{depth['pixels_outside_depth']:,} lie outside all bands"
    )


def format_score(value: float) -> str:
    """Return a score with four decimals, a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def format_interval(lower: float, upper: float) -> str:
    """Return bounds in brackets; empty where there are none."""
    return "" if math.isnan(lower) or math.isnan(upper) else f"[{lower:.4f}, {upper:.4f}]"


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
