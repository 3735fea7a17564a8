"""Messages from evaluators, checked and free of ROS: cumulative states and frame outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Account
from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.metric.confusion import from_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from deeplab_miou.metric.counts import Counts

RunKey = tuple[str, str]  # source, run_id

# Ids are uint8 and one of them is the ignore index.
MAX_CLASSES = 255
# Years of 4K video; of the most runs that are kept apart the sums still fit int64.
MAX_PIXELS = 2**52
# Sums of these and of what comes on top still fit int64, row and column of a matrix together too.
MAX_SUM = 2**60
# Names, ids and digests are not longer, and what is said beyond the counts is not either.
MAX_NAME = 256
MAX_REASONS = 64
MAX_PROVENANCE = 2**16


class RefusedError(DeeplabMiouError):
    """A message of an evaluator cannot be used; it is counted and nothing is changed.

    Attributes:
        kind: what it is counted under.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, eq=False)
class RunSnapshot:
    """What a run has counted up to one instant; counts and account agree with each other.

    Attributes:
        run_id: unique for each process that counts.
        reset_count: resets since it began; counts start from zero with each.
        counts: pixels and frames since the reset.
        account: what became of every message.
        frame_sequence: outcomes of frames since the reset.
        stamp_ns: newest stamp counted, nanoseconds; 0 before the first frame.
    """

    run_id: str
    reset_count: int
    counts: Counts
    account: Account = field(default_factory=Account)
    frame_sequence: int = 0
    stamp_ns: int = 0


@dataclass(frozen=True, eq=False)
class EvaluatorState:
    """Cumulative state of one evaluator: the newest of a run stands for the whole run.

    Attributes:
        source: fully qualified name of the evaluator.
        sequence: grows with each state of the run.
        run: what it has counted.
        class_names: n names in id order.
        configuration: digest of all that decides the score; runs of a source that differ in it do
            not add up.
        provenance: JSON text about checkpoint, label map and device.
    """

    source: str
    sequence: int
    run: RunSnapshot
    class_names: tuple[str, ...]
    configuration: str = ""
    provenance: str = ""

    @property
    def key(self) -> RunKey:
        """The run that it is a state of."""
        return self.source, self.run.run_id

    @property
    def order(self) -> tuple[int, int]:
        """Greater is newer, within a run."""
        return self.run.reset_count, self.sequence


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """Outcome of one frame.

    Attributes:
        source: fully qualified name of the evaluator.
        run_id: the evaluator's run.
        reset_count: resets of the run before this frame.
        sequence: 1, 2, 3, ... for each run and reset.
        stamp_ns: stamp of the image, nanoseconds.
        evaluated: True if it is in the confusion matrix.
        cells: (k,) row-major indices of the non-zero cells of the frame's matrix, uint32.
        counts: (k,) pixels in these, uint64.
        reason: what it was dropped under; empty if it was evaluated.
        stream: what ended: pair, image or label.
        offset_ns: stamp of the label less that of the image, nanoseconds.
    """

    source: str
    run_id: str
    reset_count: int
    sequence: int
    stamp_ns: int
    evaluated: bool
    cells: NDArray[np.uint32]
    counts: NDArray[np.uint64]
    reason: str = ""
    stream: str = "pair"
    offset_ns: int = 0

    @property
    def key(self) -> RunKey:
        """The run that it is part of."""
        return self.source, self.run_id

    @property
    def nbytes(self) -> int:
        """Memory that it holds, about."""
        return self.cells.nbytes + self.counts.nbytes + len(self.source) + len(self.run_id)

    def matrix(self, num_classes: int) -> NDArray[np.int64]:
        """Return the frame's confusion matrix, ``(n, n + 1)``.

        Raises:
            RefusedError: the cells are not those of a matrix of n classes, or the counts absurd.
        """
        try:
            matrix = from_cells(self.cells, self.counts, num_classes)
        except ValueError as error:
            text = f"frame {self.sequence} of {self.source!r} refused: {error}"
            raise RefusedError("malformed", text) from None
        if int(matrix.sum()) > MAX_PIXELS:
            raise RefusedError(
                "malformed",
                f"frame {self.sequence} of {self.source!r} refused: it counts more than "
                f"{MAX_PIXELS} pixels",
            )
        return matrix


def check_name(what: str, text: str) -> None:
    """Refuse a name, id or digest that is too long or would steer a terminal.

    Raises:
        RefusedError: it does; the message shows its beginning.
    """
    if len(text) > MAX_NAME:
        raise RefusedError(
            "malformed",
            f"its {what} {text[:32]!r}… has {len(text)} characters, expected at most {MAX_NAME}",
        )
    if not text.isprintable():
        raise RefusedError("malformed", f"its {what} {text!r} has characters that do not print")


def check_counts(counts: Mapping[str, int]) -> None:
    """Refuse numbers that nothing real reaches, so that no sum overflows its message field.

    Raises:
        RefusedError: a number is above `MAX_PIXELS`; the message names it.
    """
    for name, count in counts.items():
        if count > MAX_PIXELS:
            raise RefusedError("malformed", f"its {name} is {count}, expected at most {MAX_PIXELS}")


def matrix_from_counts(counts: NDArray[np.uint64], num_classes: int) -> NDArray[np.int64]:
    """Return the matrix of a message's flat counts.

    Args:
        counts: (n * (n + 1),) row-major pixels.
        num_classes: n.

    Raises:
        RefusedError: n is 0 or above 255, the length is another, or the counts are absurd.
    """
    if not 0 < num_classes <= MAX_CLASSES:
        raise RefusedError(
            "malformed", f"it has {num_classes} class names, expected 1 to {MAX_CLASSES}"
        )
    expected = num_classes * (num_classes + 1)
    if counts.shape != (expected,):
        raise RefusedError(
            "malformed",
            f"it has {counts.size} counts, expected {expected} for {num_classes} classes",
        )
    # In float64 first: a sum of uint64 could wrap into an innocent number.
    if counts.astype(np.float64).sum() > MAX_PIXELS:
        raise RefusedError("malformed", f"it counts more than {MAX_PIXELS} pixels")
    return counts.astype(np.int64).reshape(num_classes, num_classes + 1)
