"""The bounded queue between the receiving callbacks and the worker."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Overflow(str, Enum):
    """What happens to an item that finds the queue full."""

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    BLOCK = "block"


class WorkQueue(Generic[T]):
    """A first-in first-out queue of bounded length.

    Args:
        capacity: greatest number of items, at least 1.
        overflow: what to do when it is full. ``BLOCK`` makes `put` wait, so it is for sources that
            can be held up (a paced replay), not for a live camera.
    """

    def __init__(self, capacity: int, overflow: Overflow = Overflow.DROP_OLDEST) -> None:
        if capacity < 1:
            raise ValueError(f"queue capacity is {capacity}, expected at least 1")
        self._capacity = capacity
        self._overflow = overflow
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._interrupted = False

    def put(self, item: T) -> list[T]:
        """Add an item and return those that had to go for it (itself, perhaps)."""
        with self._changed:
            if self._overflow is Overflow.BLOCK:
                self._changed.wait_for(
                    lambda: len(self._items) < self._capacity or self._interrupted
                )
            dropped: list[T] = []
            if len(self._items) >= self._capacity:
                if self._overflow is not Overflow.DROP_OLDEST:
                    return [item]
                dropped.append(self._items.popleft())
            self._items.append(item)
            self._changed.notify_all()
            return dropped

    def take(self, most: int, timeout_s: float) -> list[T]:
        """Return up to `most` items, oldest first; wait for one, at most `timeout_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items) or self._interrupted, timeout_s)
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            if taken:
                self._changed.notify_all()
            return taken

    def clear(self) -> list[T]:
        """Empty the queue and return what was in it."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def interrupt(self, *, on: bool) -> None:
        """Wake everyone who waits and let nobody wait (on), or go back to waiting (off)."""
        with self._changed:
            self._interrupted = on
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)
