"""The frames that two runs have in common, and those that changed most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.report.stamps import format_stamp
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.report.frame_table import FrameTable

_SHOWN_NAMES = 4


@dataclass(frozen=True, eq=False)
class CommonFrames:
    """Frames that both runs have scored.

    Attributes:
        a: their counts by A.
        b: by B, in the same order.
        only_a: frames that B lacks.
        only_b: frames that A lacks.
    """

    a: FrameTable
    b: FrameTable
    only_a: int
    only_b: int


def common_frames(a: FrameTable, b: FrameTable) -> CommonFrames:
    """Pair the frames of two runs: the k-th of a stamp in one with the k-th in the other.

    Raises:
        ConfigurationError: the runs have other classes, or scored a common frame on other ground
            truth.
    """
    if a.class_names != b.class_names:
        raise ConfigurationError(
            f"A and B have different classes ({_unlike(a.class_names, b.class_names)}): evaluate "
            "both with the same label map"
        )
    rounds_a, rounds_b = _rounds(a.stamps_ns), _rounds(b.stamps_ns)
    _, in_a, in_b = np.intersect1d(rounds_a, rounds_b, assume_unique=True, return_indices=True)
    # In the order of A, as the stream had it.
    order = np.argsort(in_a)
    found = CommonFrames(
        a.rows(in_a[order]),
        b.rows(in_b[order]),
        len(rounds_a) - len(in_a),
        len(rounds_b) - len(in_b),
    )
    differs = (found.a.labelled != found.b.labelled).any(axis=1)
    if differs.any():
        first = format_stamp(int(found.a.stamps_ns[differs.argmax()]))
        raise ConfigurationError(
            f"A and B were scored on different ground truth in {differs.sum()} of {len(differs)} "
            f"common frames (first: stamp {first}): evaluate both with the same labels, with the "
            "same regions ignored, and at the labels' resolution"
        )
    return found


def _rounds(stamps_ns: NDArray[np.int64]) -> NDArray[np.void]:
    """Return (k,) pairs of stamp and how often it was there before, as in a bag that loops."""
    order = np.argsort(stamps_ns, kind="stable")
    ascending = stamps_ns[order]
    first = np.searchsorted(ascending, ascending)
    found = np.empty(len(stamps_ns), [("stamp", np.int64), ("round", np.int64)])
    found["stamp"] = stamps_ns
    found["round"][order] = np.arange(len(stamps_ns)) - first
    return found


def _unlike(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """Return in which classes two lists differ, in words."""
    only = (
        ("A", [each for each in a if each not in b]),
        ("B", [each for each in b if each not in a]),
    )
    parts = [f"only {which} has {_some(names)}" for which, names in only if names]
    return " and ".join(parts) or "the same in another order"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")


def span(table: FrameTable) -> str:
    """Return how many frames there are and of what time, in words."""
    if not len(table.stamps_ns):
        return "no frames"
    first, last = (
        format_stamp(int(each)) for each in (table.stamps_ns.min(), table.stamps_ns.max())
    )
    return f"{plural(len(table.stamps_ns), 'frame')}, stamps {first} to {last}"
