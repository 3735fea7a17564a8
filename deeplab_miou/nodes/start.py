"""Starts a node's process so that Ctrl-C ends it quietly from the very beginning."""

from __future__ import annotations

import os
import signal
from importlib import import_module


def run(module: str) -> int:
    """Import the module of a node and run its `main`, which takes over the signals.

    Importing rclpy, messages and PyTorch takes a second or more, in which Ctrl-C would end in a
    traceback from somewhere inside of them.

    Args:
        module: full name.

    Returns:
        Exit status.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    return int(import_module(module).main() or 0)


def _end(number: int, _frame: object) -> None:
    # Nothing has begun that would have to be ended.
    os._exit(128 + number)
