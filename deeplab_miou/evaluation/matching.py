"""Which image belongs to which label: decided by their stamps alone.

Equal stamps belong together. Of the rest, the two that are nearest to each other do, then the
nearest two of those that are left, and so on, as long as they are within the tolerance. That no
message is paired twice and that a pair is never broken for a worse one is what the C++
``ApproximateTime`` policy of ``message_filters`` aims at; its Python twin takes whatever is near
enough first.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def match(
    images_ns: Sequence[int], labels_ns: Sequence[int], tolerance_ns: int
) -> list[tuple[int, int]]:
    """Pair stamps, in O(n log n).

    Args:
        images_ns: stamps of images, nanoseconds, each once, in any order.
        labels_ns: likewise of labels.
        tolerance_ns: greatest difference of the stamps of a pair.

    Returns:
        (image, label) stamps in the order of the images' stamps. Of two equally near partners the
        earlier is taken.
    """
    both = set(images_ns).intersection(labels_ns)
    pairs = [(stamp, stamp) for stamp in both]
    if tolerance_ns:
        rest = [(stamp, True) for stamp in images_ns if stamp not in both]
        rest += [(stamp, False) for stamp in labels_ns if stamp not in both]
        pairs += _nearest_first(sorted(rest), tolerance_ns)
    return sorted(pairs)


def _nearest_first(stamps: list[tuple[int, bool]], tolerance_ns: int) -> list[tuple[int, int]]:
    """Pair the nearest two again and again.

    The nearest two of different kinds are neighbours among those that are left: what lay between
    them would be nearer to one of them.

    Args:
        stamps: ascending, with whether each is an image's.
        tolerance_ns: greatest difference.
    """
    end = len(stamps)
    before, after = list(range(-1, end - 1)), list(range(1, end + 1))
    waiting = [True] * end
    nearest: list[tuple[int, int, int, int, int]] = []

    def propose(first: int, second: int) -> None:
        if first < 0 or second == end or stamps[first][1] == stamps[second][1]:
            return
        distance = stamps[second][0] - stamps[first][0]
        if distance <= tolerance_ns:
            image, label = (first, second) if stamps[first][1] else (second, first)
            heapq.heappush(nearest, (distance, stamps[image][0], stamps[label][0], first, second))

    for first in range(end - 1):
        propose(first, first + 1)
    pairs = []
    while nearest:
        _, image_ns, label_ns, first, second = heapq.heappop(nearest)
        if not (waiting[first] and waiting[second]):
            continue
        waiting[first] = waiting[second] = False
        pairs.append((image_ns, label_ns))
        left, right = before[first], after[second]
        if left >= 0:
            after[left] = right
        if right < end:
            before[right] = left
        propose(left, right)
    return pairs
