"""Signs that a score, though exact, is not that of the network: mostly a wrong label map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.metric.scores import cohens_kappa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Fewer frames may be odd ones.
_LEAST_FRAMES = 10
# Share of the labels' pixels.
MOST_UNKNOWN = 0.1
# Networks that have learnt anything reach 0.5.
_LEAST_KAPPA = 0.1


def find_doubts(
    matrix: NDArray[np.int64], frames: int, ignored_pixels: int, unmapped_pixels: int
) -> list[str]:
    """Return what makes a score doubtful, a line each.

    Args:
        matrix: (n, n + 1) int64 confusion matrix.
        frames: frames in it.
        ignored_pixels: pixels whose ground truth is not scored.
        unmapped_pixels: those of them that the label map does not know.
    """
    if frames < _LEAST_FRAMES:
        return []
    doubts = []
    # Labels that were resized have had more pixels than were counted.
    pixels = max(int(matrix.sum()) + ignored_pixels, unmapped_pixels)
    if unmapped_pixels > MOST_UNKNOWN * pixels:
        doubts.append(
            f"{unmapped_pixels / pixels:.0%} of the labels' pixels have ids or colours that the "
            "label map does not know, and count nowhere: is it the one that the labels were made "
            "with? What is to be left out belongs under its ignore"
        )
    kappa = cohens_kappa(matrix)
    if kappa < _LEAST_KAPPA:
        doubts.append(
            "predictions and labels agree hardly more than by chance (Cohen's kappa "
            f"{kappa:.2f}): are the label map's classes those of the network, in its order, and "
            "mean, std and input size as it was trained?"
        )
    return doubts
