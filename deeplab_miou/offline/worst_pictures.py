"""Pictures of the worst frames of an evaluation, of the whole frames and of each region."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.pictures.segmentation import comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.frames import FrameSummary
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.outcomes import FrameOutcome


class PictureKey(NamedTuple):
    """Which picture of a worst frame it is.

    Attributes:
        of: the whole frame, 0, or what a region has of it, from 1 on.
        place: of the frame in its run.
    """

    of: int
    place: int


class WorstPictures:
    """Draws worst frames, or takes what other processes have drawn of them.

    Args:
        engine: label map, regions and predictions.
        legends: the names of ids.
        has_images: whether frames have a camera image, and not another node's prediction.

    Attributes:
        whole: of the worst frames.
        regions: for each region that of its worst frame, if it has one.
    """

    def __init__(self, engine: Engine, legends: Legends, *, has_images: bool) -> None:
        self.whole: list[NDArray[np.uint8]] = []
        self.regions: list[list[NDArray[np.uint8]]] = [[] for _ in engine.axes.regions]
        self._predictor = engine.predictor
        self._label_map = engine.label_map
        self._regions = engine.regions
        self._legends = legends
        self._has_images = has_images

    def draw(self, frames: FrameSummary[FrameOutcome]) -> None:
        """Draw the worst of these frames, whose images and labels are still there.

        Raises:
            FrameError: the device fails now.
        """
        self.whole = [self._draw(frame.evidence) for frame in frames.worst]
        self.regions = [
            [self._draw(frame.evidence, region) for frame in worst[:1]]
            for region, worst in enumerate(frames.worst_of_regions)
        ]

    def by_key(self, frames: FrameSummary[FrameOutcome]) -> dict[PictureKey, NDArray[np.uint8]]:
        """Return what was drawn of these frames."""
        return {
            key: picture
            for keys, pictures in zip(_keys(frames), (self.whole, *self.regions), strict=True)
            for key, picture in zip(keys, pictures, strict=False)
        }

    def take(
        self,
        frames: FrameSummary[FrameOutcome],
        pictures: Mapping[PictureKey, NDArray[np.uint8]],
    ) -> None:
        """Take pictures of these frames that others have drawn."""
        self.whole, *self.regions = (
            [pictures[key] for key in keys] if all(key in pictures for key in keys) else []
            for keys in _keys(frames)
        )

    def _draw(self, outcome: FrameOutcome, region: int | None = None) -> NDArray[np.uint8]:
        """Draw a frame that was evaluated, or what a region has of it."""
        assert outcome.image is not None  # noqa: S101  (evaluated)
        assert outcome.ground_truth is not None  # noqa: S101
        given = self._legends.prepared(self._predictor, outcome.image)
        prediction = outcome.prediction
        if prediction is None:
            (scored,) = self._predictor.score(
                [given], [outcome.ground_truth], keep_predictions=True
            ).result()
            prediction = scored.prediction
            assert prediction is not None  # noqa: S101  (kept)
        truth = outcome.ground_truth
        if region is not None:
            ignored = self._label_map.ignore_index
            truth = list(self._regions.ground_truths(truth, ignored, outcome.depth))[region]
        image = given if self._has_images else None
        return comparison(image, truth, prediction, self._label_map)


def _keys(frames: FrameSummary[FrameOutcome]) -> list[list[PictureKey]]:
    drawn = (frames.worst, *(worst[:1] for worst in frames.worst_of_regions))
    return [
        [PictureKey(of, frame.evidence.position.sequence) for frame in worst]
        for of, worst in enumerate(drawn)
    ]
