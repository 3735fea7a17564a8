"""What the parameters of ``deeplab_evaluator`` mean for the parts of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluation.engine import EngineOptions
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.queueing import Overflow, WorkQueue
from deeplab_miou.nodes.evaluator.inputs import InputOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.node import Node

    from deeplab_miou.accounting import Stream
    from deeplab_miou.evaluation.outcomes import Message
    from deeplab_miou.evaluation.pairing import Pair

_NS = 1_000_000_000
_LENGTHS = {"input_size": 2, "mean": 3, "std": 3}


def engine_options(settings: Mapping[str, object]) -> EngineOptions:
    """Return what to predict with, and how.

    Raises:
        ConfigurationError: a list has the wrong length.
    """
    values = {name: settings[name] for name in EngineOptions.__dataclass_fields__}
    for name, count in _LENGTHS.items():
        if len(values[name]) not in (0, count):
            raise ConfigurationError(
                f"parameter {name} is {values[name]!r}, expected {count} numbers or none"
            )
        values[name] = tuple(values[name]) or None
    return EngineOptions(**values)


def make_pairer(settings: Mapping[str, object]) -> Pairer[Message]:
    """Return what pairs images and labels."""
    return Pairer(
        tolerance_ns=round(settings["sync_tolerance"] * _NS),
        max_frames=settings["hold_frames"],
        max_bytes=settings["hold_mebibytes"] * 2**20,
        jump_threshold_ns=round(settings["clock_jump_threshold"] * _NS),
    )


def make_queue(settings: Mapping[str, object]) -> WorkQueue[Pair[Message]]:
    """Return what holds the pairs that wait for the device."""
    return WorkQueue(settings["queue_size"], Overflow(settings["overflow"]))


def input_options(node: Node, settings: Mapping[str, object], stream: Stream) -> InputOptions:
    """Return how to subscribe to the images or the labels."""
    return InputOptions(
        topic=node.resolve_topic_name(settings[f"{stream.value}_topic"]),
        reliability=settings[f"{stream.value}_reliability"],
        durability=settings[f"{stream.value}_durability"],
        depth=settings["input_depth"],
    )
