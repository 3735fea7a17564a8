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
        capacity: number of items that make it full, at least 1.
        overflow: what to do when it is full. With ``BLOCK`` it drops nothing: the caller must not
            accept more messages while it is `crowded`. That is for sources that can be held up (a
            paced replay), not for a live camera.
    """

    def __init__(self, capacity: int, overflow: Overflow = Overflow.DROP_OLDEST) -> None:
        if capacity < 1:
            raise ValueError(f"queue capacity is {capacity}, expected at least 1")
        self._capacity = capacity
        self._overflow = overflow
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._interrupted = False
        self._paced = False

    def put(self, item: T) -> list[T]:
        """Add an item and return those dropped to make room (perhaps itself); never waits.

        One message may complete many pairs. With ``BLOCK`` all of them are added: they were held
        before, so that together they take no more memory.
        """
        with self._changed:
            dropped: list[T] = []
            if not self._holds_up and len(self._items) >= self._capacity:
                if self._overflow is Overflow.DROP_NEWEST:
                    return [item]
                dropped.append(self._items.popleft())
            self._items.append(item)
            self._changed.notify_all()
            return dropped

    def pace(self, *, on: bool) -> None:
        """Behave as with ``BLOCK`` while a full queue holds up the source, or stop doing so."""
        with self._changed:
            self._paced = on
            self._changed.notify_all()

    @property
    def drops_nothing(self) -> bool:
        """Whether the source is held up while the queue is full."""
        with self._changed:
            return self._holds_up and not self._interrupted

    @property
    def room(self) -> int:
        """How many more items fit."""
        with self._changed:
            return max(self._capacity - len(self._items), 0)

    @property
    def crowded(self) -> bool:
        """Whether nothing more may be taken that would be dropped otherwise."""
        with self._changed:
            return self._is_crowded

    def wait_for_room(self) -> None:
        """Wait until the queue is not crowded; not by the thread that empties it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_crowded)

    def take(self, most: int, timeout_s: float) -> list[T]:
        """Return up to `most` items, oldest first; wait for one, at most `timeout_s` seconds."""
        with self._changed:
            if timeout_s > 0:
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

    @property
    def _holds_up(self) -> bool:
        return self._paced or self._overflow is Overflow.BLOCK

    @property
    def _is_crowded(self) -> bool:
        return self._holds_up and not self._interrupted and len(self._items) >= self._capacity

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)
