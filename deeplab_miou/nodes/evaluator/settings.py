"""Builds parts of the core from the parameters of ``deeplab_evaluator``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.queueing import Overflow, WorkQueue
from deeplab_miou.nodes.evaluator.inputs import InputOptions, camera_types, label_types

if TYPE_CHECKING:
    from rclpy.node import Node

    from deeplab_miou.evaluation.outcomes import Arrival
    from deeplab_miou.evaluation.pairing import Pair
    from deeplab_miou.options.nodes import EvaluatorOptions

_NS = 1_000_000_000


def make_pairer(settings: EvaluatorOptions) -> Pairer[Arrival]:
    """Return the pairer of images and labels."""
    return Pairer(
        tolerance_ns=round(settings.sync_tolerance * _NS),
        max_frames=settings.hold_frames,
        max_bytes=settings.hold_mebibytes * 2**20,
        jump_threshold_ns=round(settings.clock_jump_threshold * _NS),
    )


def make_queue(settings: EvaluatorOptions) -> WorkQueue[Pair[Arrival]]:
    """Return the queue of pairs that wait to be scored."""
    return WorkQueue(settings.queue_size, Overflow(settings.overflow))


def input_options(node: Node, settings: EvaluatorOptions, stream: Stream) -> InputOptions:
    """Return how to subscribe to the images or the labels."""
    is_image = stream is Stream.IMAGE
    return InputOptions(
        topic=node.resolve_topic_name(settings.image_topic if is_image else settings.label_topic),
        reliability=settings.image_reliability if is_image else settings.label_reliability,
        durability=settings.image_durability if is_image else settings.label_durability,
        depth=settings.input_depth,
        types=camera_types() if is_image and settings.source == "network" else label_types(),
    )
