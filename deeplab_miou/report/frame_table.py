"""The counts of each frame as a table next to the report, for comparisons."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import numpy as np

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.metric.scores import class_counts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

FRAMES_NAME = "frames.csv.gz"
_KINDS = ("tp", "fp", "fn")
# Beyond it a quicker level costs a few bytes more and a third of the time.
_LEVEL = 4


@dataclass(frozen=True, eq=False)
class FrameTable:
    """The counts of k frames in the order in which they were scored.

    Attributes:
        class_names: n names in id order.
        stamps_ns: (k,) int64, stamps of the images.
        counts: (k, 3, n) int64, true positive, false positive and false negative pixels.
    """

    class_names: tuple[str, ...]
    stamps_ns: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def labelled(self) -> NDArray[np.int64]:
        """(k, n) int64 pixels of each class in the ground truth."""
        labelled: NDArray[np.int64] = self.counts[:, 0] + self.counts[:, 2]
        return labelled

    @property
    def overlaps(self) -> NDArray[np.int64]:
        """(k, 2, n) int64 intersection and union."""
        return np.stack((self.counts[:, 0], self.counts.sum(axis=1)), axis=1)

    def rows(self, chosen: NDArray[np.int64]) -> FrameTable:
        """Return some of the frames.

        Args:
            chosen: (j,) indices.
        """
        return FrameTable(self.class_names, self.stamps_ns[chosen], self.counts[chosen])


class FrameTableWriter:
    """Writes a table row by row; memory does not grow with it.

    A table that was not closed properly is not valid: what was there before stays.

    Args:
        path: the file to write or to replace.
        class_names: n names in id order.

    Raises:
        DeeplabMiouError: it cannot be written.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.tmp")
        try:
            self._file: TextIO = gzip.open(  # noqa: SIM115  (closed by `__exit__`)
                self._temporary, "wt", compresslevel=_LEVEL, encoding="utf-8", newline=""
            )
            columns = (f"{kind}:{name}" for kind in _KINDS for name in class_names)
            csv.writer(self._file).writerow(["stamp_ns", *columns])
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the table in its place, or remove it where something went wrong."""
        try:
            self._file.close()
            if error is None:
                self._temporary.replace(self._path)
        except OSError as failure:
            if error is None:
                raise self._failure(failure) from failure
        finally:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def add(self, stamp_ns: int, matrix: NDArray[np.int64]) -> None:
        """Write the row of a frame.

        Args:
            stamp_ns: of its image.
            matrix: its counts, int64 ``(n, n + 1)``.

        Raises:
            DeeplabMiouError: it cannot be written.
        """
        intersection, union = class_counts(matrix)
        labelled = matrix.sum(axis=1)
        counts = np.concatenate((intersection, union - labelled, labelled - intersection))
        try:
            self._file.write(f"{stamp_ns},{','.join(map(str, counts.tolist()))}\r\n")
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> DeeplabMiouError:
        return DeeplabMiouError(
            f"table of frames {str(self._path)!r} cannot be written: {error.strerror or error}"
        )


def read_frame_table(path: Path) -> FrameTable:
    """Read a table.

    Raises:
        DeeplabMiouError: it cannot be read, or is not such a table.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            class_names = _class_names(next(csv.reader(file), []))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                values = np.loadtxt(file, np.int64, delimiter=",", ndmin=2)
        # Raises ValueError where the rows are no such rows.
        values = values.reshape(-1, 1 + len(_KINDS) * len(class_names))
    except OSError as error:
        reason = error.strerror or error
        raise DeeplabMiouError(f"table of frames {str(path)!r} cannot be read: {reason}") from None
    except (ValueError, EOFError, zlib.error, csv.Error) as error:
        raise DeeplabMiouError(
            f"{str(path)!r} is not a complete table of frames ({error}): evaluate again"
        ) from None
    counts = values[:, 1:].reshape(-1, len(_KINDS), len(class_names))
    return FrameTable(class_names, values[:, 0], counts)


def _class_names(columns: list[str]) -> tuple[str, ...]:
    count = (len(columns) - 1) // len(_KINDS)
    names = [name.partition(":")[2] for name in columns[1 : 1 + count]]
    expected = ["stamp_ns", *(f"{kind}:{name}" for kind in _KINDS for name in names)]
    if not names or columns != expected:
        raise ValueError("its first line does not name stamp_ns and tp, fp and fn of each class")
    return tuple(names)
