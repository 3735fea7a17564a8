"""Which labels found no image, and what their stamps suggest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.metric.stamp_offsets import format_span

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NS = 1e9
# Nearer than this share of the time from frame to frame, a label can only mean that one image.
_NEAR_SHARE = 0.5
_LONGEST_NEAR_NS = 1_000_000_000


def find_lost(
    images_ns: NDArray[np.int64],
    labels_ns: NDArray[np.int64],
    lost_ns: NDArray[np.int64],
    option: str,
) -> list[str]:
    """Return what the stamps of labels without an image suggest, a line each.

    Args:
        images_ns: (i,) int64 stamps of all images.
        labels_ns: (k,) int64 stamps of all labels.
        lost_ns: (j,) int64 stamps of the labels that found no image.
        option: what the tolerance is called, for instance ``--sync-tolerance``.
    """
    lines = [
        f"{np.count_nonzero(stamps == 0)} of {stamps.size} {name} have the stamp 0: the "
        "publisher must set header.stamp, by which messages are paired"
        for name, stamps in (("images", images_ns), ("labels", labels_ns))
        if np.count_nonzero(stamps == 0) > 1
    ]
    lost_ns = lost_ns[lost_ns != 0]
    if not lost_ns.size:
        return lines
    count = f"{lost_ns.size} of {labels_ns.size} labels found no image"
    stamps = np.unique(images_ns[images_ns != 0])
    if not stamps.size:
        return [*lines, f"{count}, as there are no images with a stamp"]
    apart = distances(stamps, lost_ns)
    # Where many images are lost, the labels still tell how far frames are apart.
    step = min(_step(stamps), _step(np.unique(labels_ns[labels_ns != 0])))
    near = apart[(apart > 0) & (apart <= min(_NEAR_SHARE * step, _LONGEST_NEAR_NS))]
    taken = int(np.count_nonzero(apart == 0))
    if taken:
        lines.append(
            f"{taken} of {labels_ns.size} labels found no image, because another label with the "
            "same stamp was paired with it"
        )
    if near.size:
        tolerance = _rounded_up(float(near.max()) / _NS)
        middle = format_span(float(np.median(near)))
        lines.append(
            f"{count}, though one lies near {near.size} of them ({middle} away in the "
            f"median, {format_span(near.max())} at most): {option} {tolerance} would pair these"
        )
    rest = lost_ns.size - near.size - taken
    if rest:
        far = apart[(apart > 0) & ~np.isin(apart, near)]
        lines.append(
            f"{rest} of {labels_ns.size} labels found no image; the nearest lies "
            f"{format_span(far.min())} away or more: are images missing, or is a clock off?"
        )
    return lines


def distances(stamps: NDArray[np.int64], to: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distance from each to the nearest of ascending stamps."""
    place = np.searchsorted(stamps, to)
    below = stamps[np.maximum(place - 1, 0)]
    above = stamps[np.minimum(place, stamps.size - 1)]
    nearest: NDArray[np.int64] = np.minimum(np.abs(to - below), np.abs(to - above))
    return nearest


def _step(stamps: NDArray[np.int64]) -> float:
    """Return the usual time from one of ascending stamps to the next; infinite for fewer."""
    return float(np.median(np.diff(stamps))) if stamps.size > 1 else math.inf


def _rounded_up(value: float) -> str:
    """Return a number of two digits that is not less than a value."""
    digits = 1 - math.floor(math.log10(value))
    rounded = math.ceil(value * 10**digits - 1e-9) / 10**digits
    return f"{rounded:.{max(digits, 0)}f}".rstrip("0").rstrip(".")
