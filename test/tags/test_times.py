"""Times as people and tools write them."""

import pytest

from deeplab_miou.tags.times import Moment, read_time

NOON = 1_777_636_800_000_000_000  # 2026-05-01T12:00:00Z, by `date -u -d ... +%s`


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1777636800", Moment(NOON)),
        (" 1777636800.123456789 ", Moment(NOON + 123_456_789)),
        ("1777636800123456789", Moment(NOON + 123_456_789)),
        ("0.5", Moment(500_000_000)),
        ("+12.5", Moment(12_500_000_000, is_relative=True)),
        (f"+{0.1 + 0.2}", Moment(300_000_000, is_relative=True)),
        (f"+{1 / 3000}", Moment(333_333, is_relative=True)),
        ("2026-05-01T12:00:00Z", Moment(NOON)),
        ("2026-05-01T12:00:00.876543210Z", Moment(NOON + 876_543_210)),
        ("2026-05-01 14:00+02:00", Moment(NOON)),
        ("2026-05-01T06:30:00,5-0530", Moment(NOON + 500_000_000)),
        ("2026-05-01 12:00:00 UTC", Moment(NOON)),
    ],
)
def test_read(text, expected):
    assert read_time(text) == expected


def test_decimal_comma_only_where_it_may_be():
    assert read_time("1777636800,5", decimal_comma=True) == Moment(NOON + 500_000_000)
    with pytest.raises(ValueError, match="is not a time"):
        read_time("1777636800,5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1777636800123", "milliseconds"),
        ("1.7776368E+09", "rounded by a spreadsheet"),
        ("2026-05-01T12:00:00", "no time zone"),
        ("2026-02-30T12:00:00Z", "not a date and time that exists"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("12:00", "is not a time"),
        ("-5", "is not a time"),
        ("01.05.2026 12:00", "is not a time"),
        ("", "is not a time"),
        ("nan", "is not a time"),
        ("9" * 400, "is not a time"),
    ],
)
def test_refused(text, expected):
    with pytest.raises(ValueError, match=expected):
        read_time(text)
