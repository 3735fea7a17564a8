"""Shows the progress of an evaluation: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from deeplab_miou.report.wording import format_interval, format_score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from deeplab_miou.aggregation.results import Result
    from deeplab_miou.offline.evaluation import OnProgress

_BAR_PERIOD_S = 0.1
_SCORE_PERIOD_S = 1.0
LINE_PERIOD_S = 10.0
# Where scores take long, as with a thousand classes, they may take a twentieth of the time.
_COST = 20


class Meter:
    """Shows frames per second and the score so far, but not so often that it costs much.

    Args:
        period_s: least time between two answers, seconds.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due_s = time.monotonic() + period_s
        # When the first message came: what is before, such as loading the network, is no speed.
        self._begun_s: float | None = None

    def restart(self) -> None:
        """Begin with another bag."""
        self._begun_s = None

    def read(self, result: Callable[[], Result]) -> str:
        """Return the text, empty if it is not due yet or there is no frame.

        Args:
            result: computes the scores so far; called only when due.
        """
        now_s = time.monotonic()
        if self._begun_s is None:
            self._begun_s = now_s
        if now_s < self._due_s:
            return ""
        found = result()
        after_s = time.monotonic()
        self._due_s = after_s + max(self._period_s, _COST * (after_s - now_s))
        frames = found.totals.counts.frames
        if not frames:
            return ""
        score = " ".join(
            filter(
                None,
                ("mIoU", format_score(found.scores.miou), format_interval(*found.miou_interval)),
            )
        )
        return f"{frames / max(after_s - self._begun_s, 1e-9):.1f} frames/s, {score}"

    def time_left(self, done: int, total: int) -> str:
        """Return how long the rest takes if it takes as long as what is done."""
        elapsed_s = time.monotonic() - (self._begun_s or 0.0)
        return f"{timedelta(seconds=round(elapsed_s * (total - done) / done))} left"


class Bar:
    """A bar with the score so far next to it.

    Args:
        progress: shows it.
        steps: of the whole bar.
    """

    def __init__(self, progress: Progress, steps: int | None) -> None:
        self._progress = progress
        self._meter = Meter(_SCORE_PERIOD_S)
        self._task = progress.add_task("", total=steps, score="")
        self._due_s = 0.0

    def begin(self, name: str) -> None:
        """Show what the bar is of."""
        self._meter.restart()
        self._progress.update(self._task, description=name, score="")

    def move(self, done: float, total: int, result: Callable[[], Result] | None = None) -> None:
        """Move the bar; cheap enough for every message.

        Args:
            done: of the whole bar.
            total: all of it.
            result: computes the scores so far; None to move at once.
        """
        now_s = time.monotonic()
        if result is not None and now_s < self._due_s:
            return
        self._due_s = now_s + _BAR_PERIOD_S
        self._progress.update(self._task, completed=done, total=total)
        if result is not None and (text := self._meter.read(result)):
            self._progress.update(self._task, score=text)


def bars(console: Console) -> Progress:
    """Return what shows a bar, to be entered."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        # In a narrow terminal the bar shrinks, and not the time left.
        TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=len("0:00:00"))),
        TextColumn("{task.fields[score]}", markup=False),
    )
    return Progress(*columns, console=console, transient=True, expand=True)


def takes_bars(console: Console) -> bool:
    """Return whether a bar can be drawn over itself; a log to which colours go takes none."""
    return console.is_terminal and sys.stderr.isatty() and not console.is_dumb_terminal


@contextmanager
def showing(console: Console, *, quiet: bool) -> Iterator[OnProgress]:
    """Yield what shows the progress of one evaluation.

    Args:
        console: where to.
        quiet: say nothing.
    """
    if quiet:
        yield lambda _done, _total, _result: None
        return
    if takes_bars(console):
        with bars(console) as progress:
            bar = Bar(progress, None)
            bar.begin("messages")
            yield bar.move
        return
    meter = Meter(LINE_PERIOD_S)

    def tell(done: int, total: int, result: Callable[[], Result]) -> None:
        if done < total and (text := meter.read(result)):
            left = meter.time_left(done, total)
            console.print(f"{done:,} of {total:,} messages, {left}, {text}", markup=False)

    yield tell
