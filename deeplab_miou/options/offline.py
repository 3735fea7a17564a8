"""Options of ``deeplab-miou evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field

from deeplab_miou.options.declaration import option
from deeplab_miou.options.scoring import (
    EngineOptions,
    PairingOptions,
    ScoreOptions,
    TagOptions,
    TopicOptions,
    WindowOptions,
)


@dataclass(frozen=True)
class SectionOptions:
    """Which part of the bag is scored."""

    start: float = option(
        0.0, "start this many seconds after the first image, by stamps", minimum=0.0, form="S"
    )
    duration: float = option(
        0.0, "seconds to evaluate, by stamps", minimum=0.0, unset="to the end", form="S"
    )


@dataclass(frozen=True)
class OfflineOptions(TagOptions, SectionOptions, ScoreOptions, PairingOptions, TopicOptions):
    """What to evaluate, and how.

    Attributes:
        bag: folder or file.
        engine: label map and where predictions come from.
        prediction_topic: predictions in the bag, in place of the network; empty for the network.
        window: newest frames to score apart; None for none.
    """

    bag: str = ""
    engine: EngineOptions = field(default_factory=EngineOptions)
    prediction_topic: str = ""
    window: WindowOptions | None = None

    @property
    def input_topic(self) -> str:
        """The topic that is paired with the labels."""
        return self.prediction_topic or self.image_topic

    @property
    def topics(self) -> tuple[str, str]:
        """What is paired of the bag."""
        return self.input_topic, self.label_topic

    @property
    def depth_topics(self) -> tuple[str, ...]:
        """The topic of depth images, if there is one."""
        return (self.depth_topic,) if self.depth_topic else ()
