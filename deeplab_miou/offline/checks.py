"""What makes a bag impossible to evaluate as asked, found before that takes any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.images.cdr import IMAGE_TYPES, VIDEO_TYPES
from deeplab_miou.metric.scores import check_weights
from deeplab_miou.offline.label_info import check_label_info
from deeplab_miou.regions.regions import check_depth
from deeplab_miou.video.decoder import check_installed

if TYPE_CHECKING:
    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.options.offline import OfflineOptions


def check_topics(options: OfflineOptions) -> None:
    """Complain about a bag or its topics before a network is loaded.

    Raises:
        ConfigurationError: a topic cannot be used.
        BagError: nothing of the bag can be read.
    """
    with BagReader(options.bag) as reader:
        check_reader(options, reader)


def check_evaluation(options: OfflineOptions, engine: Engine, reader: BagReader) -> None:
    """Complain about an open bag, and about options that do not fit the network's classes.

    Raises:
        ConfigurationError: a topic cannot be used, a region needs depth images that there are not,
            or weights do not fit the classes.
    """
    check_reader(options, reader)
    check_depth(engine.regions, options.depth_topic)
    check_class_weights(options, engine)


def check_class_weights(options: OfflineOptions, engine: Engine) -> None:
    """Complain about weights that do not fit the classes.

    Raises:
        ConfigurationError: they do not.
    """
    try:
        check_weights(options.class_weights or None, engine.label_map.num_classes)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def check_reader(options: OfflineOptions, reader: BagReader) -> None:
    """Complain about the topics of an open bag.

    Raises:
        ConfigurationError: one cannot be used.
    """
    options.check_tags()
    check_label_info(reader, options.engine)
    for topic in options.topics:
        info = reader.require(topic, (*IMAGE_TYPES, *VIDEO_TYPES))
        if info.type in VIDEO_TYPES:
            _check_video(options, topic, info.type)
        if info.serialization != "cdr":
            raise ConfigurationError(
                f"topic {topic!r} of bag {options.bag!r} is serialised as {info.serialization!r}, "
                f"expected 'cdr' as ROS 2 writes it"
            )
    for topic in options.depth_topics:
        reader.require(topic, IMAGE_TYPES)
        if topic in options.topics:
            raise ConfigurationError(
                f"topic {topic!r} is given for depth images and for {_other(options, topic)}: name "
                "three topics"
            )
    if options.input_topic == options.label_topic:
        raise ConfigurationError(
            f"topic {options.label_topic!r} is given for both images and labels: name two topics"
        )


def _other(options: OfflineOptions, topic: str) -> str:
    return "labels" if topic == options.label_topic else "images"


def _check_video(options: OfflineOptions, topic: str, kind: str) -> None:
    """Complain about a video of labels, and where none can be decoded."""
    if topic == options.label_topic or options.prediction_topic:
        raise ConfigurationError(
            f"topic {topic!r} of bag {options.bag!r} is a video ({kind}), which changes ids and "
            f"colours: expected labels of type {' or '.join(IMAGE_TYPES)}"
        )
    check_installed()
