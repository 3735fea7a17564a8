"""The machine that a benchmark ran on, in general terms."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from pathlib import Path


def describe() -> str:
    """Return date, cores, CPU family and Python version in one line."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"model name\s*:\s*(.+)", text)
    cpu = " ".join(found[1].split()) if found else platform.machine()
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    return f"{today}, {os.cpu_count()} cores of {cpu}, Python {platform.python_version()}"
