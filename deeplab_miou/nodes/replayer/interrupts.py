"""Signals that end the main thread's work, but never between two steps that belong together."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns SIGINT and SIGTERM into `KeyboardInterrupt`, wherever the main thread waits."""

    def __init__(self) -> None:
        self._is_held = False
        self._is_pending = False

    def listen(self) -> None:
        """Interrupt from now on; main thread only."""
        for number in _SIGNALS:
            signal.signal(number, self._interrupt)

    @staticmethod
    def ignore() -> None:
        """Stop interrupting: the process is already ending."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Interrupt only at the end of the block."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_pending:
            raise KeyboardInterrupt

    def _interrupt(self, *_: object) -> None:
        self._is_pending = True
        if not self._is_held:
            raise KeyboardInterrupt
