"""What is counted of one scored frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.metric.counts import Counts
from deeplab_miou.metric.error_types import count_mistakes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.frames import Frame
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.frame_scores import Scored
    from deeplab_miou.regions.regions import Regions


class FrameCounter:
    """Counts frames.

    Args:
        label_map: what the labels mean.
        regions: what is scored separately, and what is not scored.
        error_types: whether mistakes are sorted by their type.
    """

    def __init__(self, label_map: LabelMap, regions: Regions, *, error_types: bool) -> None:
        self._label_map = label_map
        self._regions = regions
        self._error_types = error_types

    @property
    def needs_predictions(self) -> bool:
        """Whether it looks at predictions, not only at their confusion matrix."""
        return self._error_types or self._regions.scored != ()

    def count(self, frame: Frame, scored: Scored) -> Counts:
        """Return what is counted of a frame."""
        return Counts(
            scored.matrix,
            frames=1,
            ignored=frame.ground_truth.size - int(scored.matrix.sum()),
            unmapped=frame.unmapped_pixels,
            **self._optional(frame, scored.prediction),
        )

    def _optional(
        self, frame: Frame, prediction: NDArray[np.uint8] | None
    ) -> dict[str, NDArray[np.int64]]:
        """Return the fields of `Counts` that only some users want."""
        if prediction is None:
            return {}
        found = {}
        regions, ground_truth = self._regions, frame.ground_truth
        n, ignore_index = self._label_map.num_classes, self._label_map.ignore_index
        if regions.scored:
            found["regions"] = regions.count(ground_truth, prediction, n, ignore_index, frame.depth)
        if regions.by_depth:
            found["depth"] = regions.count_depth(
                ground_truth, ignore_index, frame.depth, is_unusable=frame.depth_problem != ""
            )
        if self._error_types:
            found["mistakes"] = count_mistakes(ground_truth, prediction, n, ignore_index)
        return found
