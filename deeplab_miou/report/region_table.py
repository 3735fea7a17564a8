"""Regions and slices of a result: a row each, and in words what differs beyond chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.metric.region_scores import WHOLE_IMAGE
from deeplab_miou.report.wording import format_interval, format_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.metric.region_scores import Contrast

_MOST_SENTENCES = 4
_MOST_SLICE_SENTENCES = 24


class RegionCell(NamedTuple):
    """The IoU of a class in a region.

    Attributes:
        iou: with four decimals, a dash where the class is absent.
        interval: in brackets, empty where there is none.
        value: for a colour, 0 to 1; None where the class is absent.
    """

    iou: str
    interval: str
    value: float | None


class RegionRow(NamedTuple):
    """A region.

    Attributes:
        name: of the region.
        miou: with four decimals.
        interval: in brackets, empty where there is none.
        share: of the labelled pixels of the whole frames, in per cent.
        cells: one for each class.
    """

    name: str
    miou: str
    interval: str
    share: str
    cells: list[RegionCell]


def region_rows(result: Result) -> list[RegionRow]:
    """Return the whole image and each region; nothing without regions."""
    if not result.regions:
        return []
    whole = max(result.totals.counts.pixels, 1)
    return [
        RegionRow(
            name,
            format_score(each.scores.miou),
            format_interval(*each.miou_interval),
            f"{each.totals.counts.pixels / whole:.1%}",
            _region_cells(each),
        )
        for name, each in ((WHOLE_IMAGE, result), *result.regions.items())
    ]


def region_sentences(result: Result) -> list[str]:
    """Return what is better or worse in a region than in the rest of the frames, beyond chance."""
    return [
        sentence
        for name, found in result.contrasts().items()
        for sentence in _sentences(f"in {name} than elsewhere", found, result.totals.class_names)
    ]


class SliceRow(NamedTuple):
    """The frames that have a tag in common.

    Attributes:
        name: the tag.
        miou: with four decimals.
        interval: in brackets, empty where there is none.
        frames: how many.
        percent: mIoU in per cent; None where it is undefined.
        lower: likewise of the interval.
        upper: likewise.
        cells: one for each class.
    """

    name: str
    miou: str
    interval: str
    frames: int
    percent: float | None
    lower: float | None
    upper: float | None
    cells: list[RegionCell]


def slice_rows(result: Result) -> list[SliceRow]:
    """Return the slices of a result, the lowest mIoU first, and all frames after them."""
    if not result.slices:
        return []
    named = [*((tag.label, each) for tag, each in result.slices.items()), ("all frames", result)]
    return [
        SliceRow(
            name,
            format_score(each.scores.miou),
            format_interval(*each.miou_interval),
            each.totals.counts.frames,
            _percent(each.scores.miou),
            _percent(each.miou_interval[0]),
            _percent(each.miou_interval[1]),
            _region_cells(each),
        )
        for name, each in named
    ]


def slice_sentences(result: Result) -> list[str]:
    """Return where the frames of a tag are better or worse than all others, beyond chance."""
    sentences = [
        sentence
        for tag, found in result.slice_contrasts().items()
        for sentence in _sentences(
            f"with {tag.label} than in the other frames", found, result.totals.class_names
        )
    ]
    return sentences[:_MOST_SLICE_SENTENCES]


def _percent(value: float) -> float | None:
    return round(100 * value, 2) if np.isfinite(value) else None


def _region_cells(each: Result) -> list[RegionCell]:
    return [
        RegionCell(
            format_score(float(iou)),
            format_interval(*each.iou_interval(class_id)),
            None if np.isnan(iou) else round(float(iou), 4),
        )
        for class_id, iou in enumerate(each.scores.iou)
    ]


def _sentences(where: str, found: Contrast, class_names: tuple[str, ...]) -> list[str]:
    difference = found.inside - found.outside
    differing = np.flatnonzero(found.differs)
    # mIoU first, then the largest differences.
    order = sorted(differing.tolist(), key=lambda k: (k > 0, -abs(difference[k])))
    what = ("mIoU", *class_names)
    return [
        f"{what[k]} is {abs(difference[k]):.2f} "
        f"{'better' if difference[k] > 0 else 'worse'} {where} "
        f"({found.inside[k]:.2f} against {found.outside[k]:.2f}; 95 % {_span(found.bounds[k])})"
        for k in order[:_MOST_SENTENCES]
    ]


def _span(bounds: NDArray[np.float64]) -> str:
    """Return bounds of a difference that exclude zero as those of its size, the smaller first."""
    least, most = sorted(abs(bounds).tolist())
    return f"{least:.2f} to {most:.2f}"
