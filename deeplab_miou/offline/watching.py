"""Shows the progress of evaluating several bags: a bar in a terminal, lines in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deeplab_miou.report.table import format_interval, format_score
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from deeplab_miou.offline.many import Watcher
    from deeplab_miou.report.report import BagResult

# Of a bag's progress, so that a bar moves within it.
_STEPS = 1000


class _Silent:
    """Says nothing."""

    def begun(self, name: str) -> None:
        """Do nothing."""

    def read(self, done: int, total: int) -> None:
        """Do nothing."""

    def ended(self, result: BagResult, *, earlier: bool) -> None:
        """Do nothing."""


class _Lines:
    """A line for each bag, and a bar where there is a terminal.

    Args:
        count: how many bags there are.
        console: where to.
        progress: the bar; not started where there is no terminal.
    """

    def __init__(self, count: int, console: Console, progress: Progress) -> None:
        self._count = count
        self._console = console
        self._progress = progress
        self._task = progress.add_task("", total=count * _STEPS, name="")
        self._ended = 0
        self._begun_s = 0.0

    def begun(self, name: str) -> None:
        """Show the name."""
        self._begun_s = time.monotonic()
        self._progress.update(self._task, name=printable(name))

    def read(self, done: int, total: int) -> None:
        """Move the bar."""
        place = self._ended * _STEPS + _STEPS * done // max(total, 1)
        self._progress.update(self._task, completed=place)

    def ended(self, result: BagResult, *, earlier: bool) -> None:
        """Report the outcome of a bag."""
        self._ended += 1
        self._progress.update(self._task, completed=self._ended * _STEPS)
        self._progress.refresh()
        took_s = max(time.monotonic() - self._begun_s, 1e-9)
        what = f"mIoU {format_score(result.miou)}"
        if interval := format_interval(result.miou_lower, result.miou_upper):
            what += f" {interval}"
        what += f", {result.frames} frames"
        what += " (from an earlier run)" if earlier else f", {result.frames / took_s:.1f} frames/s"
        if result.status != "evaluated":
            what = result.status if result.status == "failed" else f"{result.status}; {what}"
            what += f": {result.problem}" if result.problem else ""
        line = f"[{self._ended}/{self._count}] {result.name}: {what}"
        self._console.print(printable(line), markup=False)


@contextmanager
def watching(count: int, console: Console, *, quiet: bool) -> Iterator[Watcher]:
    """Yield what shows the progress of evaluating several bags.

    Args:
        count: how many bags there are.
        console: where to.
        quiet: say nothing.
    """
    if quiet:
        yield _Silent()
        return
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield _Lines(count, console, progress)
