"""Stamps of messages, for people."""

from __future__ import annotations

from datetime import datetime, timezone

_NS = 1_000_000_000
# Stamps before 2000 are seconds since a simulation or a machine began.
_EPOCH_S = 946_684_800


def format_time(stamp_ns: int) -> str:
    """Return a stamp for people: UTC if it is one, else seconds."""
    whole, rest = divmod(stamp_ns, _NS)
    if whole < _EPOCH_S:
        return f"{stamp_ns / _NS:.3f} s"
    try:
        date = datetime.fromtimestamp(whole, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return f"{stamp_ns / _NS:.3f} s"
    return f"{date:%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d} UTC"


def format_stamp(stamp_ns: int) -> str:
    """Return a stamp in seconds with all of its digits, as ROS 2 prints it."""
    sign = "-" if stamp_ns < 0 else ""
    return f"{sign}{abs(stamp_ns) // _NS}.{abs(stamp_ns) % _NS:09d}"
