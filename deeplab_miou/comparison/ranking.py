"""The most remarkable frames of a stream, apart from each other, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

T = TypeVar("T")

Rank = tuple[float, str, int]


class Ranking(Generic[T]):
    """Keeps the items that rank first, one of each key.

    Which ones does not depend on the order in which they come. Not thread-safe.

    Args:
        most: how many to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Hashable, tuple[Rank, T]] = {}

    @property
    def items(self) -> list[T]:
        """Return what is kept, first things first."""
        return [item for _, item in sorted(self._held.values(), key=lambda each: each[0])]

    def admits(self, key: Hashable, rank: Rank) -> bool:
        """Return whether an item would be kept.

        Args:
            key: what only one of the items that are kept has.
            rank: smaller comes first; no two items have the same.
        """
        same = self._held.get(key)
        if same is not None:
            return rank < same[0]
        return len(self._held) < self._most or rank < self._held[self._last()][0]

    def put(self, key: Hashable, rank: Rank, item: T) -> None:
        """Keep an item if it is admitted; arguments as of `admits`."""
        if not self.admits(key, rank):
            return
        if key not in self._held and len(self._held) >= self._most:
            del self._held[self._last()]
        self._held[key] = rank, item

    def copy(self) -> Ranking[T]:
        """Return another one with the same items."""
        other: Ranking[T] = Ranking(self._most)
        other._held = dict(self._held)
        return other

    def _last(self) -> Hashable:
        return max(self._held, key=lambda each: self._held[each][0])
