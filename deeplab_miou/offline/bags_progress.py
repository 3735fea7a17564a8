"""Shows the progress of evaluating several bags: a bar in a terminal, lines in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from deeplab_miou.offline.progress import LINE_PERIOD_S, Bar, Meter, bars, takes_bars
from deeplab_miou.report.wording import format_interval, format_score
from deeplab_miou.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.offline.many_bags import ProgressListener
    from deeplab_miou.report.report import BagResult

# Of a bag's progress, so that a bar moves within it.
_STEPS = 1000


class _Silent:
    """Says nothing."""

    def begun(self, name: str) -> None:
        """Do nothing."""

    def read(self, done: int, total: int, result: Callable[[], Result]) -> None:
        """Do nothing."""

    def ended(self, result: BagResult, *, earlier: bool) -> None:
        """Do nothing."""


class _Lines:
    """A line for each bag, with a bar where there is a terminal and lines in between elsewhere.

    Args:
        count: how many bags there are.
        console: where to.
        bar: the bar; None where there is no terminal.
    """

    def __init__(self, count: int, console: Console, bar: Bar | None) -> None:
        self._count = count
        self._console = console
        self._bar = bar
        self._meter = Meter(LINE_PERIOD_S)
        self._ended = 0
        self._name = ""
        # None where bags are evaluated side by side: none of them has a speed of its own.
        self._begun_s: float | None = None

    def begun(self, name: str) -> None:
        """Show the name."""
        self._begun_s = time.monotonic()
        self._name = printable(name)
        self._meter.restart()
        if self._bar is not None:
            self._bar.begin(self._name)

    def read(self, done: int, total: int, result: Callable[[], Result]) -> None:
        """Move the bar, or add a line if the last one is old."""
        share = done / max(total, 1)
        if self._bar is not None:
            self._bar.move(_STEPS * (self._ended + share), _STEPS * self._count, result)
        elif done < total and (text := self._meter.read(result)):
            place = f"[{self._ended + 1}/{self._count}] {self._name}"
            self._console.print(f"{place}: {share:.0%} read, {text}", markup=False)

    def ended(self, result: BagResult, *, earlier: bool) -> None:
        """Report the outcome of a bag."""
        self._ended += 1
        if self._bar is not None:
            self._bar.move(_STEPS * self._ended, _STEPS * self._count)
        what = f"mIoU {format_score(result.miou)}"
        if interval := format_interval(result.miou_lower, result.miou_upper):
            what += f" {interval}"
        what += f", {plural(result.frames, 'frame')}"
        if earlier:
            what += " (from an earlier run)"
        elif self._begun_s is not None:
            took_s = max(time.monotonic() - self._begun_s, 1e-9)
            what += f", {result.frames / took_s:.1f} frames/s"
        if result.status != "evaluated":
            what = result.status if result.status == "failed" else f"{result.status}; {what}"
            what += f": {result.problem}" if result.problem else ""
        line = f"[{self._ended}/{self._count}] {result.name}: {what}"
        self._console.print(printable(line), markup=False)


@contextmanager
def showing_bags(count: int, console: Console, *, quiet: bool) -> Iterator[ProgressListener]:
    """Yield what shows the progress of evaluating several bags.

    Args:
        count: how many bags there are.
        console: where to.
        quiet: say nothing.
    """
    if quiet:
        yield _Silent()
        return
    with bars(console) if takes_bars(console) else nullcontext() as progress:
        bar = None if progress is None else Bar(progress, count * _STEPS)
        yield _Lines(count, console, bar)
