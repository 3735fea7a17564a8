from __future__ import annotations

from deeplab_miou.report.stamps import format_stamp, format_time


def test_stamps_read_as_dates_where_they_are_and_keep_their_digits():
    assert format_time(1_700_000_012_100_000_000) == "2023-11-14 22:13:32.100 UTC"
    assert format_time(12_345_000_000) == "12.345 s"
    assert format_time(2**62) != ""
    assert format_stamp(1_700_000_012_100_000_000) == "1700000012.100000000"
    assert format_stamp(-1_500_000_000) == "-1.500000000"
