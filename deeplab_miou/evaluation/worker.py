"""The worker thread: it owns the network and processes waiting pairs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_S = 0.1


class Worker:
    """Runs a function repeatedly in a separate thread until stopped.

    Args:
        work: called with a time-out in seconds; waits no longer than that for something to do.
        on_error: called from the thread with the exception that ended it; the thread is gone then.
    """

    def __init__(
        self, work: Callable[[float], object], on_error: Callable[[BaseException], None]
    ) -> None:
        self._work = work
        self._on_error = on_error
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="deeplab-miou-worker", daemon=True)

    def start(self) -> None:
        """Start the thread; a worker is started once."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the current work and end the thread."""
        self._stopping.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _loop(self) -> None:
        try:
            while not self._stopping.is_set():
                self._work(_POLL_S)
        except BaseException as error:  # noqa: BLE001  (handed over, never swallowed)
            self._on_error(error)
