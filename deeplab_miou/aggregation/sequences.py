"""Which numbers of a sequence have arrived, whatever the order: duplicates and gaps."""

from __future__ import annotations

from bisect import bisect_right

# A gap that is given up stays missing; a number of it that arrives later counts as a duplicate.
_MAX_GAPS = 1024


class SequenceTracker:
    """Tells new numbers from repeated ones and counts those missing, in bounded memory.

    Not thread-safe. Numbers before the first that arrived or was announced are not missing: the
    sequence began before anybody listened.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._last = 0
        self._gaps: list[tuple[int, int]] = []  # ascending, closed, apart from each other
        self._given_up = 0

    @property
    def missing(self) -> int:
        """How many numbers between the first and the last have not arrived."""
        return self._given_up + sum(stop - start + 1 for start, stop in self._gaps)

    @property
    def last(self) -> int:
        """The greatest number that arrived or was announced; 0 before any."""
        return self._last

    def add(self, number: int) -> bool:
        """Take a number that arrived; False if it had arrived before."""
        if self._first is None:
            self._first = self._last = number
        elif number > self._last:
            self._open_gap(self._last + 1, number - 1)
            self._last = number
        elif number < self._first:
            self._open_gap(number + 1, self._first - 1)
            self._first = number
        else:
            return self._close_gap(number)
        return True

    def announce(self, number: int) -> None:
        """Take note that all numbers up to this one exist.

        The first announcement only says where the sequence stood when listening began.
        """
        if self._first is None:
            self._first, self._last = number + 1, number
        elif number > self._last:
            self._open_gap(self._last + 1, number)
            self._last = number

    def _open_gap(self, start: int, stop: int) -> None:
        if start > stop:
            return
        self._gaps.insert(bisect_right(self._gaps, (start, stop)), (start, stop))
        if len(self._gaps) > _MAX_GAPS:
            first, last = self._gaps.pop(0)
            self._given_up += last - first + 1

    def _close_gap(self, number: int) -> bool:
        index = bisect_right(self._gaps, (number, 2**64)) - 1
        if index < 0 or self._gaps[index][1] < number:
            return False
        start, stop = self._gaps[index]
        halves = ((start, number - 1), (number + 1, stop))
        self._gaps[index : index + 1] = [gap for gap in halves if gap[0] <= gap[1]]
        return True
