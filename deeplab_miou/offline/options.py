"""What an evaluation of a bag can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplab_miou.defaults import IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.evaluation.engine import EngineOptions

if TYPE_CHECKING:
    from deeplab_miou.metric.scores import AbsentClasses


@dataclass(frozen=True)
class OfflineOptions:
    """What to evaluate.

    Attributes:
        bag: folder or file.
        engine: label map and where predictions come from.
        image_topic: images for the network.
        label_topic: ground truth.
        prediction_topic: predictions in the bag, in place of the network; empty for the network.
        sync_tolerance_s: greatest difference of image and label stamp, seconds.
        start_s: where to begin, seconds after the earliest stamp of an image.
        duration_s: how much to evaluate, seconds of the images' stamps; None for all.
        absent_classes: ``exclude`` or ``zero``, see `compute_scores`.
        class_weights: a weight for each class in id order, of the weighted mIoU; empty for all one.
    """

    bag: str
    engine: EngineOptions = field(default_factory=EngineOptions)
    image_topic: str = IMAGE_TOPIC
    label_topic: str = LABEL_TOPIC
    prediction_topic: str = ""
    sync_tolerance_s: float = 0.0
    start_s: float = 0.0
    duration_s: float | None = None
    absent_classes: AbsentClasses = "exclude"
    class_weights: tuple[float, ...] = ()

    @property
    def input_topic(self) -> str:
        """The topic that is paired with the labels."""
        return self.prediction_topic or self.image_topic

    @property
    def topics(self) -> tuple[str, str]:
        """What is read of the bag."""
        return self.input_topic, self.label_topic
