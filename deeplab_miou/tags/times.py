"""Times as people and tools write them, as whole nanoseconds."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import NamedTuple

_NS = 1_000_000_000
# Python prints up to 17 digits of a number, of which the first may follow some zeros.
_NUMBER = re.compile(r"(?P<sign>\+?)(?P<whole>[0-9]{1,19})(?:\.(?P<part>[0-9]{1,20}))?")
_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
# Seconds since the epoch have 10 digits, milliseconds 13, microseconds 16, nanoseconds 19.
_LEAST_NS = 10**17
_MOST_S = 10**11
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Moment(NamedTuple):
    """A time.

    Attributes:
        ns: nanoseconds since the epoch.
        is_relative: since the first image instead.
    """

    ns: int
    is_relative: bool = False

    def since(self, first_ns: int) -> int:
        """Return nanoseconds since the epoch, given the stamp of the first image."""
        return self.ns + first_ns if self.is_relative else self.ns


def read_time(text: str, *, decimal_comma: bool = False) -> Moment:
    """Return the moment that a text stands for.

    Args:
        text: seconds since the epoch, or 19 digits of nanoseconds; ``+`` and seconds since the
            first image; or ISO 8601 with a time zone.
        decimal_comma: whether numbers may have a comma for the point.

    Raises:
        ValueError: it is none of these; the message continues after the text itself.
    """
    stripped = text.strip()
    number = _NUMBER.fullmatch(stripped.replace(",", ".") if decimal_comma else stripped)
    if number is not None:
        return _of_number(number)
    date = _DATE.fullmatch(stripped)
    if date is not None:
        return _of_date(date)
    if re.fullmatch(r"[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+", stripped):
        raise ValueError(
            "was rounded by a spreadsheet: format the column as text or as a number with decimals"
        )
    raise ValueError(
        "is not a time, expected seconds since the epoch, +seconds since the first image, or "
        "ISO 8601 such as 2026-05-01T12:00:00Z"
    )


def _of_number(found: re.Match[str]) -> Moment:
    whole, part = int(found["whole"]), found["part"] or ""
    is_relative = bool(found["sign"])
    if whole >= _LEAST_NS and not is_relative and not part:
        return Moment(whole)
    if whole >= _MOST_S:
        raise ValueError("is in milliseconds or microseconds, expected seconds since the epoch")
    return Moment(int(Decimal(f"{whole}.{part or 0}") * _NS), is_relative)


def _of_date(found: re.Match[str]) -> Moment:
    zone = found["zone"]
    if zone is None:
        raise ValueError("has no time zone, expected a final Z (UTC) or an offset such as +02:00")
    try:
        local = datetime.strptime(
            f"{found['day']} {found['hour']}:{found['minute']}:{found['second'] or '00'} +0000",
            "%Y-%m-%d %H:%M:%S %z",
        )
    except ValueError:
        raise ValueError("is not a date and time that exists") from None
    since = local - _EPOCH - _offset(zone)
    seconds = since.days * 86_400 + since.seconds
    ns = seconds * _NS + int((found["part"] or "0").ljust(9, "0"))
    if ns < 0:
        raise ValueError("lies before 1970")
    return Moment(ns)


def _offset(zone: str) -> timedelta:
    if zone in {"Z", "z", "UTC"}:
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset
