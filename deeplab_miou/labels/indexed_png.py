"""Indexed PNGs as label images: whether one means its indices or its palette's colours.

The label map says so (``indexed_png``), or it follows where only one of the two has nothing but
known values, or both mean the same. Arguments are the same everywhere: ``indices`` (H, W) uint8 and
``palette`` (k, 3) uint8 RGB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.labels.label_map import LabelMap, MappedLabels


def map_indexed(
    label_map: LabelMap, indices: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> MappedLabels:
    """Map an indexed image to train ids.

    Raises:
        FrameError: it may mean either; or as `LabelMap.map_ids` and `LabelMap.map_colors`.
    """
    if _means_indices(label_map, indices, palette):
        return label_map.map_ids(indices)
    return label_map.map_colors(_painted(indices, palette))


def unknown_indexed(
    label_map: LabelMap, indices: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> str:
    """Name the most frequent values that are not in the map; empty if all are."""
    if _means_indices(label_map, indices, palette):
        return label_map.unknown_ids(indices)
    return label_map.unknown_colors(_painted(indices, palette))


def check_means_indices(
    label_map: LabelMap, indices: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> None:
    """Check that an indexed image means its indices.

    Raises:
        FrameError: it means its colours, or this cannot be decided.
    """
    if not _means_indices(label_map, indices, palette):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"image is an indexed PNG whose colours, not its indices, are those of label map "
            f"{label_map.name}: name the label map that it was made with",
        )


def _means_indices(
    label_map: LabelMap, indices: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> bool:
    """Return whether an indexed image means its indices.

    Raises:
        FrameError: nobody can know.
    """
    raw_ids = label_map.raw_ids
    if raw_ids.indexed_png:
        return raw_ids.indexed_png == "index"
    if not label_map.has_colors and not raw_ids.id_channel:
        return True
    used = np.flatnonzero(cv2.calcHist([indices], [0], None, [256], [0, 256])).astype(np.uint8)
    by_index = label_map.lenient.map_ids(used[None])
    if used[-1] >= len(palette):
        return True
    by_color = label_map.lenient.map_colors(palette[used][None])
    if not by_index.unmapped and np.array_equal(by_index.ids, by_color.ids):
        return True
    if bool(by_index.unmapped) != bool(by_color.unmapped):
        return not by_index.unmapped
    raise FrameError(
        Reason.BAD_ENCODING,
        f"label image is an indexed PNG, and label map {label_map.name} knows "
        f"{used.size - by_index.unmapped} of its {used.size} values as ids and "
        f"{used.size - by_color.unmapped} as colours: say which it means with indexed_png: "
        "index or indexed_png: color in the label map",
    )


def _painted(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an indexed image's colours (H, W, 3)."""
    largest = int(indices.max())
    if largest >= len(palette):
        raise FrameError(
            Reason.BAD_ENCODING,
            f"label image is an indexed PNG with index {largest}, but its palette has "
            f"{len(palette)} colours: did you mean indexed_png: index?",
        )
    return palette[indices]
