"""The names that a bag gives to the ids of its label images."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.errors import BagError
from deeplab_miou.evaluation.engine import make_legends
from deeplab_miou.labels.messages import LABEL_INFO_TYPES, read_label_names

if TYPE_CHECKING:
    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.labels.legend import Legend
    from deeplab_miou.offline.stamps import Stamps
    from deeplab_miou.options.offline import OfflineOptions
    from deeplab_miou.options.scoring import EngineOptions


def check_label_info(reader: BagReader, options: EngineOptions) -> None:
    """Complain about a topic that is missing or of another type.

    Raises:
        ConfigurationError: one is.
    """
    for topic in (options.label_info_topic, options.prediction_label_info_topic):
        if topic:
            reader.require(topic, LABEL_INFO_TYPES)


def read_legends(
    reader: BagReader, stamps: Stamps, options: OfflineOptions, engine: Engine
) -> Legends:
    """Read all names in a bag.

    Args:
        reader: the open bag.
        stamps: of its images and labels.
        options: which topics, see `check_label_info`.
        engine: whose classes are named.

    Raises:
        ConfigurationError: classes cannot be told apart by name.
    """
    legends = make_legends(options.engine, engine)
    named = (
        (legends.labels, options.engine.label_info_topic, options.label_topic),
        (legends.predictions, options.engine.prediction_label_info_topic, options.input_topic),
    )
    for legend, topic, images in named:
        if legend is not None:
            _read(reader, legend, topic, stamps, images)
    return legends


def _read(reader: BagReader, legend: Legend, topic: str, stamps: Stamps, images: str) -> None:
    of_topic = stamps.topic == stamps.topics.index(images)
    recorded_ns, stamps_ns = stamps.recorded_ns[of_topic], stamps.stamps_ns[of_topic]
    # What is damaged is told when the images are read.
    with suppress(BagError):
        for message in reader.messages([topic]):
            try:
                said = read_label_names(message.data, message.type)
            except ValueError as error:
                legend.refuse(f"{error} (recorded at {message.timestamp_ns} ns)")
                continue
            before = stamps_ns[: int(np.searchsorted(recorded_ns, message.timestamp_ns))]
            legend.add(said, int(before.max()) if before.size else 0)
    legend.close()
