"""Builds parts of the core from the parameters of ``deeplab_evaluator``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.depth_pairing import DepthPairer
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.queueing import Overflow, WorkQueue
from deeplab_miou.nodes.evaluator.inputs import (
    DEPTH,
    InputOptions,
    camera_types,
    label_info_types,
    label_types,
)
from deeplab_miou.nodes.ros.qos import AUTO

if TYPE_CHECKING:
    from rclpy.node import Node

    from deeplab_miou.evaluation.outcomes import Arrival
    from deeplab_miou.evaluation.pairing import Pair
    from deeplab_miou.options.nodes import EvaluatorOptions

_NS = 1_000_000_000
T = TypeVar("T")


def make_pairer(settings: EvaluatorOptions) -> Pairer[T]:
    """Return what pairs images and labels, or anything else as these are paired."""
    return Pairer(
        tolerance_ns=round(settings.sync_tolerance * _NS),
        max_frames=settings.hold_frames,
        max_bytes=settings.hold_mebibytes * 2**20,
        jump_threshold_ns=round(settings.clock_jump_threshold * _NS),
    )


def make_depth_pairer(settings: EvaluatorOptions) -> DepthPairer:
    """Return what finds the depth images of pairs; it may hold as much as the pairer."""
    return DepthPairer(make_pairer(settings))


def make_queue(settings: EvaluatorOptions) -> WorkQueue[Pair[Arrival]]:
    """Return the queue of pairs that wait to be scored."""
    return WorkQueue(settings.queue_size, Overflow(settings.overflow))


def input_options(node: Node, settings: EvaluatorOptions) -> dict[str, InputOptions]:
    """Return how to subscribe to images and labels, and to depth images if regions need them."""
    options = {
        Stream.IMAGE.value: InputOptions(
            topic=node.resolve_topic_name(settings.image_topic),
            reliability=settings.image_reliability,
            durability=settings.image_durability,
            depth=settings.input_depth,
            types=camera_types() if settings.source == "network" else label_types(),
        ),
        Stream.LABEL.value: InputOptions(
            topic=node.resolve_topic_name(settings.label_topic),
            reliability=settings.label_reliability,
            durability=settings.label_durability,
            depth=settings.input_depth,
            types=label_types(),
        ),
    }
    if settings.depth_topic:
        options[DEPTH] = InputOptions(
            topic=node.resolve_topic_name(settings.depth_topic),
            reliability=AUTO,
            durability=AUTO,
            depth=settings.input_depth,
            types=label_types(),
        )
    return options


def label_info_options(node: Node, settings: EvaluatorOptions, topic: str) -> InputOptions:
    """Return how to subscribe to a topic that names ids."""
    return InputOptions(
        topic=node.resolve_topic_name(topic),
        reliability=AUTO,
        durability=AUTO,
        depth=settings.input_depth,
        types=label_info_types(),
    )
