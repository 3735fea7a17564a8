"""Pairs whose ids are defined by name: they wait until the names are known."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeplab_miou.evaluation.predictors import read_mapped
from deeplab_miou.images.raw_pixels import byte_count

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.outcomes import Arrival
    from deeplab_miou.evaluation.pairing import Pair
    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.labels.legend import Legend

_MOST_PAIRS = 64
_MOST_BYTES = 256 * 2**20
# The first names may come seconds late, as while a simulator starts; later ones come at once.
FIRST_NAMES_S = 10.0
_NEWER_NAMES_S = 1.0


@dataclass(frozen=True)
class Legends:
    """Where ids get their names from; None where the label map defines them.

    Attributes:
        labels: of the ground truth.
        predictions: of predictions that come from a topic.
    """

    labels: Legend | None = None
    predictions: Legend | None = None

    @property
    def doubts(self) -> list[str]:
        """What makes scores doubtful, a line each."""
        return [line for each in (self.labels, self.predictions) if each for line in each.doubts]

    def knows(self, pair: Pair[Arrival]) -> bool:
        """Return whether the names of a pair's ids are known."""
        return not (
            (self.labels is not None and not self.labels.knows(pair.label.stamp_ns))
            or (self.predictions is not None and not self.predictions.knows(pair.image.stamp_ns))
        )

    @property
    def may_come(self) -> bool:
        """Whether more names may still arrive."""
        return not all(each.is_closed for each in (self.labels, self.predictions) if each)

    @property
    def have_come(self) -> bool:
        """Whether the first names have arrived wherever names are expected."""
        return not any(each.is_empty for each in (self.labels, self.predictions) if each)

    def label_map(self, label: Arrival, label_map: LabelMap) -> LabelMap:
        """Return what the ids of a label mean: by their names, or by the label map's own ids.

        Raises:
            FrameError: see `Legend.at`.
        """
        return label_map if self.labels is None else self.labels.at(label.stamp_ns)

    def prepared(self, predictor: Predictor, image: Arrival) -> NDArray[np.uint8]:
        """Return the array that a predictor wants for an image.

        Raises:
            FrameError: see `Legend.at` and `Predictor`.
        """
        if self.predictions is None:
            return predictor.prepare(image.image)
        return read_mapped(image.image, self.predictions.at(image.stamp_ns))


class UnnamedPairs:
    """Pairs that wait for names, in their order and bounded in number, memory and time; any thread.

    Those that may not wait any longer are read with the names known so far.

    Args:
        legends: know the names.
        room: returns how many pairs can be taken at present.
    """

    def __init__(self, legends: Legends, room: Callable[[], int]) -> None:
        self._legends = legends
        self._room = room
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Pair[Arrival], float, int]] = deque()
        self._bytes = 0

    def put(self, pair: Pair[Arrival]) -> list[Pair[Arrival]]:
        """Add a pair, and return those that need not or may not wait; see `ready`."""
        if not self._legends.may_come:
            return [pair]
        size = byte_count(pair.image.image.data) + byte_count(pair.label.image.data)
        with self._lock:
            self._waiting.append((pair, time.monotonic(), size))
            self._bytes += size
        return self.ready()

    def hurry(self) -> None:
        """Let those that wait do so no longer."""
        with self._lock:
            self._waiting = deque((pair, -math.inf, size) for pair, _, size in self._waiting)

    def ready(self) -> list[Pair[Arrival]]:
        """Return those that need not or may not wait any longer.

        They are as many as can be taken, or more if too many wait.
        """
        if not self._waiting:
            return []
        room = self._room()
        longest_s = _NEWER_NAMES_S if self._legends.have_come else FIRST_NAMES_S
        ready: list[Pair[Arrival]] = []
        with self._lock:
            while self._waiting:
                pair, since_s, size = self._waiting[0]
                is_full = len(self._waiting) > _MOST_PAIRS or self._bytes > _MOST_BYTES
                is_late = time.monotonic() - since_s > longest_s
                is_due = len(ready) < room and (is_late or self._legends.knows(pair))
                if not is_due and not is_full:
                    break
                self._waiting.popleft()
                self._bytes -= size
                ready.append(pair)
        return ready

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._waiting.clear()
            self._bytes = 0
