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

from deeplab_miou.metric.image_scores import IMAGE_SCORES
from deeplab_miou.report.page_classes import (
    class_rows,
    find_extremes,
    mistake_rows,
    summarise_class,
)
from deeplab_miou.report.page_matrix import matrix_cells, matrix_picture
from deeplab_miou.report.region_table import (
    region_rows,
    region_sentences,
    slice_rows,
    slice_sentences,
)
from deeplab_miou.report.stamps import format_stamp, format_time
from deeplab_miou.report.templates import page_template
from deeplab_miou.report.timeline_plot import plot_timeline
from deeplab_miou.report.wording import (
    OTHER_SCORES,
    accounting_lines,
    depth_lines,
    format_interval,
    format_score,
    interval_notes,
    resampled,
    subject,
)
from deeplab_miou.text import capitalized, plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.metric.image_scores import Estimate
    from deeplab_miou.metric.worst_frames import WorstFrame
    from deeplab_miou.report.report import Report

_LONGEST_DRAWN_NAME = 22


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
    time: str
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
    result, counts = report.result, report.result.totals.counts
    names = [printable(name) for name in result.totals.class_names]
    weakest, strongest = find_extremes(result)
    return page_template(Path(__file__).with_name("page.html")).render(
        miou=format_score(result.scores.miou),
        interval=format_interval(*result.miou_interval),
        interval_reason=result.intervals.reason if result.intervals is not None else None,
        frames=counts.frames,
        present=int(np.isfinite(result.scores.iou).sum()),
        subject=subject(report),
        weakest=[summarise_class(result, names, each) for each in weakest],
        strongest=None if strongest is None else summarise_class(result, names, strongest),
        headlines=_headlines(report),
        classes=class_rows(report, names, weakest),
        plot=plot_timeline(result.timeline, result.scores.miou, result.worst),
        mistakes=mistake_rows(result, names),
        regions=[each._replace(name=printable(each.name)) for each in region_rows(result)],
        depth_lines=depth_lines(result),
        region_notes=[printable(each) for each in interval_notes(result.regions.items())],
        slice_notes=[
            printable(each)
            for each in interval_notes((tag.label, part) for tag, part in result.slices.items())
        ],
        region_sentences=[printable(each) for each in region_sentences(result)],
        slices=[each._replace(name=printable(each.name)) for each in slice_rows(result)],
        slice_sentences=[printable(each) for each in slice_sentences(result)],
        region_frames=[
            (printable(name), frame)
            for name, each in result.regions.items()
            for frame in _worst(each.worst, report.region_pictures.get(name, ()), names)
            if frame.picture
        ],
        worst=_worst(result.worst, report.pictures, names),
        evaluators=len({frame.source for frame in result.worst}),
        pictured=len(report.pictures) > 0,
        names=names,
        longest=min(max(map(len, [*names, "invalid"])), _LONGEST_DRAWN_NAME),
        cells=matrix_cells(counts.matrix, names),
        picture=matrix_picture(counts.matrix),
        accounting=_other_lines(report),
        bags=_bags(report),
        criteria=[(printable(each.line), each.passed) for each in report.criteria],
        resampled=resampled(result.intervals) if report.bags and result.intervals else "",
        streams=_streams(result),
        problems=[printable(problem) for problem in report.problems],
        doubts=report.doubts,
        provenance=_provenance(report, digest),
    )


def _other_lines(report: Report) -> list[str]:
    """Return the lines of the account that the page has no table for."""
    return accounting_lines(report)[len(report.result.totals.account.streams) + bool(report.bags) :]


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


def _headlines(report: Report) -> list[tuple[str, str]]:
    result = report.result
    weighted = result.scores.weighted_miou
    same = weighted == result.scores.miou or np.isnan(weighted)
    tiles = [
        (capitalized(words), format_score(getattr(result.scores, name)))
        for name, words in OTHER_SCORES.items()
        if not (same and name == "weighted_miou")
    ]
    if result.image_scores is not None:
        found = [(words, getattr(result.image_scores, key)) for key, words in IMAGE_SCORES.items()]
        tiles += [
            (f"{capitalized(words)} {_bounds(each)}".rstrip(), format_score(each.value))
            for words, each in found
        ]
    if report.window is not None:
        text = f"mIoU, newest {plural(report.window.totals.counts.frames, 'frame')}"
        tiles.append((text, format_score(report.window.scores.miou)))
    return tiles


def _bounds(each: Estimate) -> str:
    """Return the interval of a mean, or why there is none."""
    return (
        f"(no interval: {each.reason})" if each.reason else format_interval(each.lower, each.upper)
    )


def _worst(
    frames: Sequence[WorstFrame[object]], pictures: Sequence[NDArray[np.uint8]], names: list[str]
) -> list[_Worst]:
    rows = []
    for index, frame in enumerate(frames):
        truth, prediction, pixels = frame.confusion
        instead = names[prediction] if prediction < len(names) else "no class"
        rows.append(
            _Worst(
                format_stamp(frame.stamp_ns),
                format_time(frame.stamp_ns),
                printable(frame.source),
                format_score(frame.miou),
                f"{frame.wrong:.1%}",
                f"{pixels:,} pixels of {names[truth]} taken for {instead}" if pixels else "",
                jpeg_uri(pictures[index]) if index < len(pictures) else "",
            )
        )
    return rows


def jpeg_uri(picture: NDArray[np.uint8]) -> str:
    """Return a uint8 RGB picture as a data URI."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), quality)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def _streams(result: Result) -> list[tuple[str, dict[str, int]]]:
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
        for name, counts in result.totals.account.streams.items()
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
