"""Which frames a network failed on: the worst of a stream, apart from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from deeplab_miou.metric.scores import class_counts, frame_miou, frame_mious

if TYPE_CHECKING:
    from numpy.typing import NDArray

Evidence = TypeVar("Evidence")
Evidence_co = TypeVar("Evidence_co", covariant=True)

_NS = 1_000_000_000
_Rank = tuple[float, int, str]  # mIoU, stamp, source: a lower one is worse
# A frame without a mistake is none of the worst; NaN, without a labelled pixel, neither.
_PERFECT: _Rank = (1.0, 0, "")


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

    Neighbouring frames fail alike: without the second one incident would fill the list. Which are
    kept depends on the frames, not on their order: of equal mIoU the earlier stamp is the worse.

    Args:
        most: how many to keep.
    """

    def __init__(self, most: int = 6) -> None:
        self._most = most
        self._held: dict[tuple[str, int], tuple[_Rank, NDArray[np.int64], Evidence]] = {}
        self._limit = _PERFECT

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
        miou = frame_miou(matrix)
        rank = (miou, stamp_ns, source)
        if not (miou < _PERFECT[0] and rank < self._limit):
            return
        key = (source, stamp_ns // _NS)
        held = self._held.get(key)
        if held is not None and held[0] < rank:
            return
        self._held[key] = (rank, matrix.copy(), evidence)
        if len(self._held) > self._most:
            del self._held[max(self._held, key=lambda each: self._held[each][0])]
        if len(self._held) == self._most:
            self._limit = max(held[0] for held in self._held.values())

    def candidates(self, matrices: NDArray[np.int64]) -> list[int]:
        """Return which of some frames may be among the worst; the others need no `update`.

        Args:
            matrices: (k, n, n + 1) int64, their counts.
        """
        mious = frame_mious(class_counts(matrices), matrices.sum(axis=-1) > 0)
        is_candidate = (mious < _PERFECT[0]) & (mious <= self._limit[0])
        return [int(i) for i in np.flatnonzero(is_candidate)]

    def reset(self) -> None:
        """Forget all frames."""
        self._held = {}
        self._limit = _PERFECT

    def frames(self) -> tuple[WorstFrame[Evidence], ...]:
        """Return the frames, worst first; equal ones by stamp."""
        held = sorted(self._held.values(), key=lambda each: each[0])
        return tuple(_frame(*each) for each in held)


def _frame(rank: _Rank, matrix: NDArray[np.int64], evidence: Evidence) -> WorstFrame[Evidence]:
    miou, stamp_ns, source = rank
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
