"""Options of ``deeplab_evaluator``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab_miou.options.declaration import option
from deeplab_miou.options.lifecycle import LifecycleOptions
from deeplab_miou.options.scoring import EngineOptions, PairingOptions, TopicOptions

_Reliability = Literal["auto", "reliable", "best_effort"]
_Durability = Literal["auto", "volatile", "transient_local"]


@dataclass(frozen=True)
class LivePairingOptions(PairingOptions):
    """What is kept while it waits for its partner or for the network."""

    hold_frames: int = option(
        300,
        "maximum number of images, and of labels, that wait for their partner; beyond it the "
        "oldest is dropped",
        minimum=1,
        maximum=100_000,
    )
    hold_mebibytes: int = option(
        512,
        "memory in MiB for messages that wait for their partner; beyond it the oldest is dropped",
        minimum=1,
        maximum=1_048_576,
    )
    queue_size: int = option(
        8, "maximum number of pairs that wait for the network", minimum=1, maximum=10_000
    )
    overflow: Literal["drop_oldest", "drop_newest", "block"] = option(
        "drop_oldest",
        "what to do when the queue is full; block: hold up the publishers, as is always done "
        "with a paced replay",
    )
    on_clock_jump: Literal["continue", "reset"] = option(
        "continue", "what to do when time jumps back: continue counting, or reset the counts"
    )
    clock_jump_threshold: float = option(
        10.0,
        "seconds that a stamp must go back to count as a jump in time (as in a looping bag)",
        minimum=0.1,
        maximum=86_400.0,
        form="S",
    )


@dataclass(frozen=True)
class QosOptions:
    """Quality of service of the subscriptions; auto: as the publishers offer."""

    image_reliability: _Reliability = option("auto", "reliability of the image subscription")
    image_durability: _Durability = option("auto", "durability of the image subscription")
    label_reliability: _Reliability = option("auto", "reliability of the label subscription")
    label_durability: _Durability = option("auto", "durability of the label subscription")
    input_depth: int = option(
        50,
        "queue depth of each subscription, in messages",
        minimum=1,
        maximum=10_000,
    )


# Bases are listed in reverse: fields of the last come first.
@dataclass(frozen=True)
class EvaluatorOptions(
    QosOptions, LivePairingOptions, EngineOptions, TopicOptions, LifecycleOptions
):
    """Warnings and publishing."""

    predict_unlabelled: bool = option(
        default=False,
        text="when there is nothing to score, also predict images that were dropped as unmatched, "
        "for subscribers of ~/prediction or ~/overlay",
    )
    startup_timeout: float = option(
        10.0,
        "warn if an input has had no publisher for this many seconds",
        minimum=0.1,
        maximum=86_400.0,
        at_runtime=True,
    )
    publish_period: float = option(
        0.2,
        "minimum time in seconds between messages on ~/confusion; only changes are published",
        minimum=0.01,
        maximum=3600.0,
        at_runtime=True,
    )
