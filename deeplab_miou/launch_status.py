"""Passes on a node's exit status, as `ros2 launch` itself exits only with 0 or 1."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path


def exit_with(status: int) -> None:
    """Make `ros2 launch` exit with a status; other programs are not affected.

    Args:
        status: a process's, negative for a signal; 0 changes nothing.
    """
    if status and Path(sys.argv[0]).name == "ros2":
        atexit.register(_leave, status if status > 0 else 128 - status)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
