"""Keeps callbacks and transitions from running at the same time."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Gate:
    """Lets callbacks through while it is open; closed at first; thread-safe.

    A transition closes it, which waits for those inside, so that none of them sees a node that is
    half taken down. Callers do not wait to get in: a callback that finds it closed is refused.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open = False
        self._inside = 0

    def open(self) -> None:
        """Let callbacks in."""
        with self._changed:
            self._is_open = True

    def close(self) -> None:
        """Let nobody in and wait until nobody is inside; must not be called from inside."""
        with self._changed:
            self._is_open = False
            self._changed.wait_for(lambda: not self._inside)

    @contextlib.contextmanager
    def enter(self) -> Iterator[bool]:
        """Enter if the gate is open, until the end of the block; yield whether it was."""
        with self._changed:
            is_open = self._is_open
            self._inside += is_open
        try:
            yield is_open
        finally:
            with self._changed:
                self._inside -= is_open
                self._changed.notify_all()
