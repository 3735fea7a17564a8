"""Signs that a score may not reflect the network, usually because of a wrong label map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.metric.scores import cohens_kappa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deeplab_miou.metric.counts import Counts

# Fewer frames may be odd ones.
_LEAST_FRAMES = 10
# Share of the labels' pixels.
MOST_UNKNOWN = 0.1
# If there are classes that no label holds, this many are already a sign.
_FEW_UNKNOWN = 0.001
# Share of the frames; recorders drop some.
MOST_WITHOUT_DEPTH = 0.1
_SHOWN = 8
# Networks that have learnt anything reach 0.5.
_LEAST_KAPPA = 0.1


def find_doubts(
    class_names: Sequence[str], counts: Counts, region_names: Sequence[str] = ()
) -> list[str]:
    """Return what makes a score doubtful, a line each.

    Args:
        class_names: n names.
        counts: what the score comes from; its matrix has no leading axis.
        region_names: of the regions in the counts.
    """
    # Labels that were resized have had more pixels than were counted.
    pixels = max(counts.pixels + counts.ignored, counts.unmapped)
    doubts = []
    absent = [name for name, row in zip(class_names, counts.matrix, strict=True) if not row.any()]
    if counts.unmapped > _FEW_UNKNOWN * pixels and 0 < len(absent) < len(class_names):
        shown = ", ".join(absent[:_SHOWN]) + (", ..." if len(absent) > _SHOWN else "")
        doubts.append(
            f"no label holds {shown}, while {counts.unmapped / pixels:.2%} of the labels' pixels "
            "have ids or colours that the label map does not know: do they hold an instance too, "
            "such as 26001 for an instance of 26 in Cityscapes' instanceIds? Say so in the label "
            "map, for these with id_divisor: 1000 and below_divisor: id"
        )
    doubts += _depth_doubts(counts)
    if counts.frames < _LEAST_FRAMES:
        return doubts
    if counts.unmapped > MOST_UNKNOWN * pixels:
        doubts.append(
            f"{counts.unmapped / pixels:.0%} of the labels' pixels have ids or colours that the "
            "label map does not know, and are not scored: is it the one that the labels were made "
            "with? List under its ignore what should not be scored"
        )
    doubts += _region_doubts(counts, region_names)
    kappa = cohens_kappa(counts.matrix)
    if kappa < _LEAST_KAPPA:
        doubts.append(
            "predictions and labels agree barely better than chance (Cohen's kappa "
            f"{kappa:.2f}): are the label map's classes those of the network, in its order, and "
            "mean, std and input size as in training?"
        )
    return doubts


def _region_doubts(counts: Counts, region_names: Sequence[str]) -> list[str]:
    """Return which regions are empty, although the frames are not."""
    empty = [
        repr(name)
        for name, matrix in zip(region_names, counts.regions, strict=True)
        if not matrix.any()
    ]
    if not empty or not counts.pixels:
        return []
    shown = ", ".join(empty[:_SHOWN]) + (", ..." if len(empty) > _SHOWN else "")
    plural = "s" if len(empty) > 1 else ""
    return [f"no labelled pixel of any frame lies in region{plural} {shown}: there is no score"]


def _depth_doubts(counts: Counts) -> list[str]:
    """Return what makes the scores of depth regions doubtful."""
    if not len(counts.depth) or not counts.frames:
        return []
    depth = dict(zip(DEPTH, counts.depth.tolist(), strict=True))
    frames = depth["frames_without_depth"] + depth["frames_with_unusable_depth"]
    seen = counts.pixels - depth["pixels_without_depth"]
    measured = seen - depth["pixels_missing_depth"]
    doubts = []
    if frames == counts.frames:
        doubts.append(
            "no frame has a depth image that can be used, so that depth regions are empty: is "
            "depth_topic right, and do its stamps equal those of the images?"
        )
    elif frames > MOST_WITHOUT_DEPTH * counts.frames:
        doubts.append(
            f"{frames} of {counts.frames} frames have no depth image that can be used, and are "
            "not in the scores of depth regions"
        )
    if seen and not measured:
        doubts.append("depth images hold no measurement of any labelled pixel")
    elif measured and depth["pixels_outside_depth"] == measured:
        doubts.append(
            "no pixel lies in any depth region: are depth images in metres (32FC1) or millimetres "
            "(16UC1), and the regions in metres?"
        )
    return doubts
