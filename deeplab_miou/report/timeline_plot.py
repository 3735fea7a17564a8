"""mIoU over time as the coordinates of a plot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.report.stamps import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from deeplab_miou.metric.bootstrap import Timeline
    from deeplab_miou.metric.worst_frames import WorstFrame

_NS = 1_000_000_000
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 708.0, 8.0, 164.0
_MARKED = 3


class Line(NamedTuple):
    """A horizontal line of the grid."""

    y: float
    text: str


class Point(NamedTuple):
    """A block of time, the area in which it is pointed at, and its place among the worst frames."""

    x: float
    y: float
    low: bool
    title: str
    left: float
    width: float
    frame: int | None


@dataclass(frozen=True)
class TimelinePlot:
    """What the page draws, in its 720 by 212 units.

    Attributes:
        unit: what a point stands for.
        lines: of the grid.
        mean: height of the mIoU of all blocks together.
        paths: a line for each run of blocks without a gap.
        points: the blocks.
        first: where time begins.
        last: where it ends.
    """

    unit: str
    lines: list[Line]
    mean: float
    paths: list[str]
    points: list[Point]
    first: str
    last: str


def plot_timeline(
    timeline: Timeline | None, miou: float, worst: Sequence[WorstFrame[object]] = ()
) -> TimelinePlot | None:
    """Return the drawing; None if there are not even two blocks to connect.

    Args:
        timeline: mIoU by block.
        miou: of all blocks together.
        worst: the worst frames, worst first.
    """
    if timeline is None or math.isnan(miou):
        return None
    known = np.isfinite(timeline.miou)
    starts, values = timeline.starts_ns[known], timeline.miou[known]
    if len(starts) < 2:  # noqa: PLR2004
        return None
    low, high = min(math.floor(10 * min(float(values.min()), miou)) / 10, 0.9), 1.0
    x = _LEFT + (_RIGHT - _LEFT) * (starts - starts[0]) / (starts[-1] - starts[0])
    y = _height(values, low, high)
    lowest = np.argsort(values, kind="stable")[:_MARKED].tolist()
    marked = lowest if len(values) > _MARKED else []
    edges = np.concatenate(([_LEFT], (x[1:] + x[:-1]) / 2, [_RIGHT]))
    points = []
    for k, start_ns in enumerate(starts.tolist()):
        frame = _worst_in(worst, start_ns, timeline.block_ns)
        title = f"{format_time(start_ns)}: mIoU {values[k]:.4f}"
        if frame is not None:
            title += (
                f"; its worst frame, {format_time(worst[frame].stamp_ns)}: {worst[frame].miou:.4f}"
            )
        points.append(
            Point(
                round(float(x[k]), 1),
                round(float(y[k]), 1),
                k in marked,
                title,
                round(float(edges[k]), 1),
                round(float(edges[k + 1] - edges[k]), 1),
                frame,
            )
        )
    return TimelinePlot(
        unit=f"{timeline.block_ns / _NS:g} s",
        lines=[
            Line(round(float(_height(np.array(value), low, high)), 1), f"{value:.2f}")
            for value in np.linspace(low, high, 3)
        ],
        mean=round(float(_height(np.array(miou), low, high)), 1),
        paths=_paths(points, starts, timeline.block_ns),
        points=points,
        first=format_time(int(starts[0])),
        last=format_time(int(starts[-1]) + timeline.block_ns),
    )


def _worst_in(worst: Sequence[WorstFrame[object]], start_ns: int, block_ns: int) -> int | None:
    """Return the place of the worst frame of a block; None if none of the worst is in it."""
    within = (k for k, each in enumerate(worst) if start_ns <= each.stamp_ns < start_ns + block_ns)
    return next(within, None)


def _height(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return _BOTTOM - (_BOTTOM - _TOP) * (values - low) / (high - low)


def _paths(points: list[Point], starts: NDArray[np.int64], block_ns: int) -> list[str]:
    """Connect neighbours; a gap of missing blocks stays open."""
    runs: list[list[Point]] = []
    for k, point in enumerate(points):
        if not k or starts[k] - starts[k - 1] > block_ns:
            runs.append([])
        runs[-1].append(point)
    return ["M" + "L".join(f"{p.x} {p.y}" for p in run) for run in runs if len(run) > 1]
