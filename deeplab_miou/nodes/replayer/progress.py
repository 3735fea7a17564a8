"""Shows the progress of a replay: a bar on terminals, a line every ten seconds in logs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_LINE_PERIOD_S = 10.0
_BAR_PERIOD_S = 0.1


class ReplayProgress:
    """Shows progress on stderr; a context manager, so that the bar is taken down again.

    Args:
        total_s: recorded seconds to play.
        log: takes a line of text.
        shown: whether to show anything.
    """

    def __init__(self, total_s: float, log: Callable[[str], object], *, shown: bool) -> None:
        self._total_s = total_s
        self._log = log
        self._bar: Progress | None = None
        self._next_s = time.monotonic() + _LINE_PERIOD_S if shown else float("inf")
        if shown and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.completed:.1f} of {task.total:.1f} s"),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=total_s)
            self._next_s = 0.0

    def __enter__(self) -> ReplayProgress:  # noqa: PYI034  (Self needs Python 3.11)
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, played_s: float, text: Callable[[], str]) -> None:
        """Take note of progress; cheap enough for every message.

        Args:
            played_s: recorded seconds played so far.
            text: returns the text to show next to it.
        """
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        if self._bar is not None:
            self._next_s = now_s + _BAR_PERIOD_S
            self._move(played_s, text)
        else:
            self._next_s = now_s + _LINE_PERIOD_S
            self._log(f"played {played_s:.1f} of {self._total_s:.1f} s: {text()}")

    def end(self, played_s: float, text: Callable[[], str]) -> None:
        """Move the bar to where it stays; arguments as for `update`.

        A log needs no such line: the replayer's summary follows.
        """
        self._move(played_s, text)

    def _move(self, played_s: float, text: Callable[[], str]) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=played_s, description=text())
