"""How much two predictions of the same image disagree, whether it has a label or not."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.comparison.changes import disagree
from deeplab_miou.comparison.joiner import Joiner
from deeplab_miou.comparison.ranking import Ranking
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.pictures.segmentation import two_predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NS = 1_000_000_000
_MOST = 6
_MOST_WAITING = 64
_MOST_WAITING_BYTES = 2**27


@dataclass(frozen=True, eq=False)
class DisagreeingFrame:
    """A frame that two networks predict differently.

    Attributes:
        stamp_ns: of its image.
        disagreement: share of its pixels.
        picture: uint8 RGB, what differs and both predictions.
    """

    stamp_ns: int
    disagreement: float
    picture: NDArray[np.uint8]


class Disagreement(NamedTuple):
    """How much two networks disagree.

    Attributes:
        frames: that both have predicted.
        share: of their pixels; NaN if there are none.
        most: the frames with the largest disagreement, at most one of each second.
    """

    frames: int
    share: float
    most: list[DisagreeingFrame]


class Predictions:
    """Joins predictions and adds up their disagreement; thread-safe.

    Args:
        class_names: n names in id order.
        label_map: gives the colours; made up by default.
    """

    def __init__(self, class_names: tuple[str, ...], label_map: LabelMap | None = None) -> None:
        self._num_classes = len(class_names)
        if label_map is None or label_map.class_names != class_names:
            classes = [{"name": str(i), "ids": [i]} for i in range(len(class_names))]
            made_up = {"name": "colours", "classes": classes}
            label_map = LabelMap.from_dict(made_up, "colours") if classes else None
        self._label_map = label_map
        self._lock = threading.Lock()
        self._waiting: Joiner[NDArray[np.uint8]] = Joiner(_MOST_WAITING, _MOST_WAITING_BYTES)
        self._most: Ranking[DisagreeingFrame] = Ranking(_MOST)
        self._frames = 0
        self._differing = 0
        self._pixels = 0

    def add(self, which: int, stamp_ns: int, ids: NDArray[np.uint8]) -> None:
        """Take a prediction of A (0) or B (1), ``(h, w)`` uint8 ids."""
        with self._lock:
            found = self._waiting.put(which, stamp_ns, ids, ids.nbytes)
            # Nobody waits for a picture that was lost on its way.
            self._waiting.crowded_out()
        # Networks of other sizes, scored at their own, have no pixels in common.
        if found is None or found[0].shape != found[1].shape or self._label_map is None:
            return
        a, b = found
        differing = int(disagree(a, b, self._num_classes).sum())
        share = differing / a.size
        key, rank = stamp_ns // _NS, (-share, "", stamp_ns)
        with self._lock:
            self._frames += 1
            self._differing += differing
            self._pixels += a.size
            is_drawn = differing > 0 and self._most.admits(key, rank)
        if is_drawn:
            picture = two_predictions(None, None, a, b, self._label_map)
            with self._lock:
                self._most.put(key, rank, DisagreeingFrame(stamp_ns, share, picture))

    def read(self) -> Disagreement:
        """Return what was added up so far."""
        with self._lock:
            share = self._differing / self._pixels if self._pixels else math.nan
            return Disagreement(self._frames, share, self._most.items)
