"""Starts a program so that Ctrl-C ends it quietly from the very beginning."""

from __future__ import annotations

import os
import signal
from importlib import import_module


def run(module: str) -> int:
    """Import a module and run its `main`, which takes over the signals.

    Imports take from a tenth of a second to several, in which Ctrl-C would end in a traceback from
    somewhere inside of them. Before this is called, Python itself is starting: too early.

    Args:
        module: full name.

    Returns:
        Exit status.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    return int(import_module(module).main() or 0)


def end(number: int, _frame: object) -> None:
    """End the process as a signal's handler: nothing has started that would have to be ended."""
    os._exit(128 + number)
