from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deeplab_miou.aggregation import sequences
from deeplab_miou.aggregation.sequences import SequenceTracker


@given(st.lists(st.integers(1, 40)))
def test_new_repeated_and_missing_whatever_the_order(numbers):
    tracker = SequenceTracker()
    seen = set()
    for number in numbers:
        assert tracker.add(number) == (number not in seen)
        seen.add(number)
        assert tracker.missing == max(seen) - min(seen) + 1 - len(seen)


@given(st.integers(0, 10), st.lists(st.integers(1, 12)), st.integers(0, 20))
def test_announced_numbers_are_missing_until_they_arrive(base, steps, final):
    tracker = SequenceTracker()
    tracker.announce(base)
    numbers = [base + step for step in steps]
    for number in numbers:
        tracker.add(number)
    tracker.announce(base + final)
    last = max([base + final, *numbers])
    assert tracker.missing == last - base - len(set(numbers))


def test_first_announcement_is_where_listening_began():
    tracker = SequenceTracker()
    tracker.announce(1000)
    assert tracker.missing == 0
    assert tracker.add(1002)
    assert tracker.missing == 1
    assert tracker.add(1001)
    assert tracker.missing == 0


def test_memory_is_bounded_and_the_count_is_kept(monkeypatch):
    monkeypatch.setattr(sequences, "_MAX_GAPS", 3)
    tracker = SequenceTracker()
    for number in range(1, 22, 2):
        tracker.add(number)
    assert tracker.missing == 10
    assert len(tracker._gaps) == 3
    assert not tracker.add(2)  # its gap was given up
    assert tracker.add(20)
    assert tracker.missing == 9
