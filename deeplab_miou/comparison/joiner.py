"""Joins what two evaluators say of the same image, by its stamp and in bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Waiting(Generic[T]):
    """An item of one side that waits for the other's.

    Attributes:
        side: 0 or 1.
        stamp_ns: its stamp.
        item: the item.
        size: bytes that it holds.
    """

    side: int
    stamp_ns: int
    item: T
    size: int


class Joiner(Generic[T]):
    """Joins the k-th item of a stamp from one side with the k-th from the other; one thread.

    Args:
        most_items: most items that wait.
        most_bytes: most bytes that they hold.
    """

    def __init__(self, most_items: int, most_bytes: int) -> None:
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._bytes = 0
        self._number = 0
        self._waiting: OrderedDict[int, Waiting[T]] = OrderedDict()
        self._numbers: dict[tuple[int, int], deque[int]] = {}

    def put(self, side: int, stamp_ns: int, item: T, size: int) -> tuple[T, T] | None:
        """Return an item with its partner, that of side 0 first; None if it has to wait."""
        partners = self._numbers.get((1 - side, stamp_ns))
        if partners:
            other = self._take(partners[0]).item
            return (item, other) if side == 0 else (other, item)
        self._number += 1
        self._waiting[self._number] = Waiting(side, stamp_ns, item, size)
        self._numbers.setdefault((side, stamp_ns), deque()).append(self._number)
        self._bytes += size
        return None

    def crowded_out(self) -> list[Waiting[T]]:
        """Return what there is no room for, the oldest first; it waits no longer."""
        found = []
        while len(self._waiting) > self._most_items or self._bytes > self._most_bytes:
            found.append(self._take(next(iter(self._waiting))))
        return found

    def forget(self, side: int) -> None:
        """Release everything of a side that still waits."""
        for number in [k for k, each in self._waiting.items() if each.side == side]:
            self._take(number)

    def waiting(self, side: int) -> list[T]:
        """Return the items of a side that wait."""
        return [each.item for each in self._waiting.values() if each.side == side]

    def _take(self, number: int) -> Waiting[T]:
        found = self._waiting.pop(number)
        self._bytes -= found.size
        key = found.side, found.stamp_ns
        self._numbers[key].remove(number)
        if not self._numbers[key]:
            del self._numbers[key]
        return found
