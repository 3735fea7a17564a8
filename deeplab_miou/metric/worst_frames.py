"""Which frames a network failed on: the worst of a stream, apart from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from deeplab_miou.metric.scores import class_counts, frame_miou

if TYPE_CHECKING:
    from numpy.typing import NDArray

Evidence = TypeVar("Evidence")
Evidence_co = TypeVar("Evidence_co", covariant=True)

_NS = 1_000_000_000


@dataclass(frozen=True)
class WorstFrame(Generic[Evidence_co]):
    """One frame on which the network did badly.

    Attributes:
        stamp_ns: its stamp, nanoseconds.
        source: which evaluator scored it; empty where there is one only.
        miou: mean IoU of this frame alone over the classes in its ground truth.
        wrong: share of its labelled pixels whose prediction is another class or none.
        confusion: the largest mistake: ground truth id, predicted id (n where it is invalid) and
            pixels.
        evidence: what the caller gave with it.
    """

    stamp_ns: int
    source: str
    miou: float
    wrong: float
    confusion: tuple[int, int, int]
    evidence: Evidence_co


class WorstFrames(Generic[Evidence]):
    """Keeps the worst frames, at most one of each second; not thread-safe.

    Neighbouring frames fail alike: without the second one incident would fill the list.

    Args:
        most: how many to keep.
    """

    def __init__(self, most: int = 6) -> None:
        self._most = most
        self._held: dict[tuple[str, int], tuple[float, int, NDArray[np.int64], Evidence]] = {}
        # A frame without a mistake is none of the worst; NaN, without a labelled pixel, neither.
        self._limit = 1.0

    def update(
        self, matrix: NDArray[np.int64], stamp_ns: int, evidence: Evidence, source: str = ""
    ) -> None:
        """Take a frame.

        Args:
            matrix: ``(n, n + 1)`` int64, its counts.
            stamp_ns: its stamp, nanoseconds.
            evidence: what to keep with it while it is among the worst.
            source: which evaluator scored it.
        """
        miou = float(_frame_mious(matrix[np.newaxis])[0])
        if not miou < self._limit:
            return
        key = (source, stamp_ns // _NS)
        held = self._held.get(key)
        if held is not None and held[0] <= miou:
            return
        self._held[key] = (miou, stamp_ns, matrix.copy(), evidence)
        if len(self._held) > self._most:
            del self._held[max(self._held, key=lambda each: self._held[each][0])]
        if len(self._held) == self._most:
            self._limit = max(held[0] for held in self._held.values())

    def candidates(self, matrices: NDArray[np.int64]) -> list[int]:
        """Return which of some frames may be among the worst; the others need no `update`.

        Args:
            matrices: (k, n, n + 1) int64, their counts.
        """
        return [int(i) for i in np.flatnonzero(_frame_mious(matrices) < self._limit)]

    def reset(self) -> None:
        """Forget all frames."""
        self._held = {}
        self._limit = 1.0

    def frames(self) -> tuple[WorstFrame[Evidence], ...]:
        """Return the frames, worst first; equal ones by stamp."""
        frames = [_frame(source, *held) for (source, _), held in self._held.items()]
        return tuple(sorted(frames, key=lambda frame: (frame.miou, frame.stamp_ns, frame.source)))


def _frame(
    source: str, miou: float, stamp_ns: int, matrix: NDArray[np.int64], evidence: Evidence
) -> WorstFrame[Evidence]:
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    truth, prediction = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
    return WorstFrame(
        stamp_ns=stamp_ns,
        source=source,
        miou=miou,
        wrong=float(mistakes.sum() / matrix.sum()),
        confusion=(int(truth), int(prediction), int(mistakes[truth, prediction])),
        evidence=evidence,
    )


def _frame_mious(matrices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mIoU of each of (k, n, n + 1) counts, see `frame_miou`."""
    return frame_miou(class_counts(matrices), matrices.sum(axis=-1) > 0)
