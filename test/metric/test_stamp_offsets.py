import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_miou.metric import stamp_offsets
from deeplab_miou.metric.stamp_offsets import OffsetTally, format_span

MS = 1_000_000


def offsets(values_ns):
    tally = OffsetTally()
    for value_ns in np.asarray(values_ns).tolist():
        tally.add(value_ns)
    return tally.offsets()


def test_median_and_largest_offset():
    found = offsets(np.array([1, 2, -9, 3, 4]) * MS)
    assert (found.pairs, found.median_s, found.largest_s) == (5, 0.002, -0.009)
    assert found.hint == ""
    nothing = offsets([])
    assert nothing.pairs == 0
    assert math.isnan(nothing.median_s)
    assert math.isnan(nothing.largest_s)


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1))
def test_median_and_largest_are_numpys(values_ns):
    found = offsets(values_ns)
    assert found.median_s == pytest.approx(np.median(values_ns) / 1e9, abs=1e-15)
    assert abs(found.largest_s) == pytest.approx(np.abs(values_ns).max() / 1e9)


@pytest.mark.parametrize(("offset", "words"), [(33, "33 ms after"), (-5, "5 ms before")])
def test_a_constant_offset_suggests_a_clock(offset, words):
    jitter = np.tile([-MS // 5, 0, 0, 0, MS // 5], 8)
    assert f"labels are stamped {words} their images" in offsets(offset * MS + jitter).hint
    assert offsets(jitter).hint == ""
    assert offsets(np.array([offset * MS] * 7)).hint == ""


@pytest.mark.parametrize("is_backwards", [False, True])
def test_memory_is_bounded_and_the_order_changes_nothing(monkeypatch, is_backwards):
    monkeypatch.setattr(stamp_offsets, "MOST_OFFSETS", 100)
    values_ns = np.random.default_rng(1).integers(-50 * MS, 70 * MS, 5000)
    tally = OffsetTally()
    for value_ns in values_ns[:: -1 if is_backwards else 1].tolist():
        tally.add(value_ns)
        assert len(tally._counts) <= 100
    found = tally.offsets()
    # Rounded to 2**21 ns, the finest power of two that gives at most 100 different ones.
    assert tally._bits == 21
    assert found.median_s == pytest.approx(np.median(values_ns) / 1e9, abs=2**21 / 1e9)
    assert found.largest_s == values_ns[np.abs(values_ns).argmax()] / 1e9
    assert found == offsets(values_ns)


def test_absurd_stamps_are_bounded_too(monkeypatch):
    monkeypatch.setattr(stamp_offsets, "MOST_OFFSETS", 4)
    found = offsets([(-1) ** k * 2**k for k in range(64)])
    assert found.pairs == 64
    assert found.largest_s == -(2**63) / 1e9


def test_a_copy_is_not_changed_by_what_comes_later():
    tally = OffsetTally()
    tally.add(5)
    copied = tally.copy()
    tally.add(7)
    assert (copied.offsets().pairs, copied.offsets().largest_s) == (1, 5e-9)
    assert tally.offsets().pairs == 2


@pytest.mark.parametrize(
    ("span_ns", "shown"), [(20, "20 ns"), (1500, "1.5 µs"), (3.6e12 * 3, "3 h"), (9e10, "1.5 min")]
)
def test_spans_are_told_in_the_unit_that_suits(span_ns, shown):
    assert format_span(span_ns) == shown
