"""Messages from evaluators, checked and free of ROS: cumulative states and frame outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Account
from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.metric.confusion import from_cells
from deeplab_miou.metric.counts import DEPTH, MISTAKES, Axes, Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

RunKey = tuple[str, str]  # source, run_id

# Ids are uint8 and one of them is the ignore index.
MAX_CLASSES = 255
MAX_REGIONS = 64
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
        depth_images: depth images received since the reset.
    """

    run_id: str
    reset_count: int
    counts: Counts
    account: Account = field(default_factory=Account)
    frame_sequence: int = 0
    stamp_ns: int = 0
    depth_images: int = 0


@dataclass(frozen=True, eq=False)
class EvaluatorState:
    """Cumulative state of one evaluator: the newest of a run stands for the whole run.

    Attributes:
        source: fully qualified name of the evaluator.
        sequence: grows with each state of the run.
        run: what it has counted.
        class_names: n names in id order.
        region_names: names of the regions in its counts, in their order.
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
    region_names: tuple[str, ...] = ()

    @property
    def axes(self) -> Axes:
        """What its counts are of."""
        return Axes(self.class_names, self.region_names)

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
        region_cells: (m,) likewise of the matrices of its regions, one after the other.
        region_counts: (m,) pixels in these.
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
    region_cells: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    region_counts: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    @property
    def key(self) -> RunKey:
        """The run that it is part of."""
        return self.source, self.run_id

    @property
    def nbytes(self) -> int:
        """Memory that it holds, about."""
        arrays = (self.cells, self.counts, self.region_cells, self.region_counts)
        return sum(each.nbytes for each in arrays) + len(self.source) + len(self.run_id)

    def matrix(self, num_classes: int) -> NDArray[np.int64]:
        """Return the frame's confusion matrix, ``(n, n + 1)``.

        Raises:
            RefusedError: the cells are not those of a matrix of n classes, or the counts absurd.
        """
        matrix = self._from_cells(self.cells, self.counts, num_classes)
        if int(matrix.sum()) > MAX_PIXELS:
            raise self._refusal(f"it counts more than {MAX_PIXELS} pixels")
        return matrix

    def counted(self, axes: Axes) -> Counts:
        """Return what was counted in the frame.

        Raises:
            RefusedError: as `matrix`, or the regions are others.
        """
        num_classes, regions = len(axes.classes), len(axes.regions)
        counts = Counts(self.matrix(num_classes), 1)
        if not regions and not len(self.region_cells):
            return counts
        matrices = self._from_cells(self.region_cells, self.region_counts, num_classes, regions)
        if (matrices > counts.matrix).any():
            raise self._refusal("it counts more in a region than in the whole frame")
        return replace(counts, regions=matrices)

    def _from_cells(
        self,
        cells: NDArray[np.uint32],
        counts: NDArray[np.uint64],
        num_classes: int,
        *regions: int,
    ) -> NDArray[np.int64]:
        try:
            return from_cells(cells, counts, num_classes, *regions)
        except ValueError as error:
            raise self._refusal(str(error)) from None

    def _refusal(self, what: str) -> RefusedError:
        text = f"frame {self.sequence} of {self.source!r} refused: {what}"
        return RefusedError("malformed", text)


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


def stack_from_counts(
    counts: NDArray[np.uint64], region_counts: NDArray[np.uint64], axes: Axes
) -> NDArray[np.int64]:
    """Return the matrices of a message's flat counts, as `Counts.stack`.

    Args:
        counts: (n * (n + 1),) row-major pixels of the whole frames.
        region_counts: (r * n * (n + 1),) likewise of each region.
        axes: n classes and r regions.

    Raises:
        RefusedError: n is 0 or above 255, r above 64, a length is another, or the counts are
            absurd.
    """
    num_classes, regions = len(axes.classes), len(axes.regions)
    if regions > MAX_REGIONS:
        raise RefusedError("malformed", f"it has {regions} regions, expected at most {MAX_REGIONS}")
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
    if region_counts.shape != (regions * expected,):
        raise RefusedError(
            "malformed",
            f"it has {region_counts.size} counts of regions, expected {regions * expected} for "
            f"{regions} regions",
        )
    # In float64 first: a sum of uint64 could wrap into an innocent number.
    if counts.astype(np.float64).sum() > MAX_PIXELS:
        raise RefusedError("malformed", f"it counts more than {MAX_PIXELS} pixels")
    if (region_counts.reshape(regions, expected) > counts).any():
        raise RefusedError("malformed", "it counts more in a region than in the whole frames")
    flat = np.concatenate((counts, region_counts)) if regions else counts
    return flat.astype(np.int64).reshape(1 + regions, num_classes, num_classes + 1)


def mistakes_from_counts(counts: NDArray[np.uint64], axes: Axes) -> NDArray[np.int64]:
    """Return a message's flat counts of mistakes, as `Counts.mistakes`.

    Args:
        counts: (n * 8,) row-major, or empty.
        axes: n classes.

    Raises:
        RefusedError: the length is another, or a count is absurd.
    """
    if counts.size not in {0, len(axes.classes) * len(MISTAKES)}:
        raise RefusedError(
            "malformed", f"it has {counts.size} counts of mistakes of {len(axes.classes)} classes"
        )
    if counts.size and int(counts.max()) > MAX_PIXELS:
        raise RefusedError("malformed", f"it counts more than {MAX_PIXELS} mistakes")
    return counts.astype(np.int64).reshape(-1, len(MISTAKES))


def depth_from_counts(counts: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return a message's counts of what depth regions do not contain, as `Counts.depth`.

    Args:
        counts: (5,), or empty.

    Raises:
        RefusedError: the length is another, or a count is absurd.
    """
    if counts.size not in {0, len(DEPTH)}:
        raise RefusedError(
            "malformed", f"it has {counts.size} counts of depth, expected none or {len(DEPTH)}"
        )
    if counts.size and int(counts.max()) > MAX_PIXELS:
        raise RefusedError("malformed", f"it counts more than {MAX_PIXELS} pixels by depth")
    return counts.astype(np.int64)
