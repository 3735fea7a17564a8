"""Options of our nodes, which are ROS parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab_miou.options.declaration import option, options_of
from deeplab_miou.options.scoring import (
    EngineOptions,
    PairingOptions,
    ScoreOptions,
    TagOptions,
    TopicOptions,
    WindowOptions,
)

_LONGEST_S = 1e6
_Reliability = Literal["auto", "reliable", "best_effort"]
_Durability = Literal["auto", "volatile", "transient_local"]


@dataclass(frozen=True)
class LifecycleOptions:
    """How the node starts."""

    autostart: bool = option(
        default=True, text="configure and activate without a lifecycle manager"
    )
    autostart_exit_on_failure: bool = option(
        default=False,
        text="exit if autostart fails, instead of staying up unconfigured",
    )


@dataclass(frozen=True)
class LivePairingOptions(PairingOptions):
    """What is kept while it waits for its partner or for the network."""

    hold_frames: int = option(
        300,
        "most images, and most labels, waiting for their partner; then the oldest is dropped",
        minimum=1,
        maximum=100_000,
    )
    hold_mebibytes: int = option(
        512,
        "memory for messages waiting for their partner, MiB; then the oldest is dropped",
        minimum=1,
        maximum=1_048_576,
    )
    queue_size: int = option(8, "most pairs that wait for the network", minimum=1, maximum=10_000)
    overflow: Literal["drop_oldest", "drop_newest", "block"] = option(
        "drop_oldest",
        "what to do when the queue is full; block holds up whoever publishes, as a paced replay "
        "is held up in any case",
    )
    on_clock_jump: Literal["continue", "reset"] = option(
        "continue", "when time jumps back: continue counting, or reset the counts"
    )
    clock_jump_threshold: float = option(
        10.0,
        "seconds that a stamp must go back to count as a jump in time (such as a looping bag)",
        minimum=0.1,
        maximum=86_400.0,
        form="S",
    )


@dataclass(frozen=True)
class QosOptions:
    """Quality of service of the subscriptions; auto takes what is offered."""

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
        text="when there is nothing to score, predict images dropped as unmatched too, for whoever "
        "subscribes to ~/prediction or ~/overlay",
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
        "shortest time between messages on ~/confusion, s; only changes are published",
        minimum=0.01,
        maximum=3600.0,
        at_runtime=True,
    )


@dataclass(frozen=True)
class EvaluatorTopicsOptions:
    """Evaluators to add up."""

    confusion_topics: tuple[str, ...] = option(
        ("/deeplab_evaluator/confusion",),
        "the evaluators' ~/confusion topics (ConfusionMatrix)",
    )
    frame_topics: tuple[str, ...] = option(
        (),
        "the evaluators' ~/frame topics (FrameScore), used for window and intervals",
        unset="the topic named frame in the namespace of each confusion topic",
        example=("/deeplab_evaluator/frame",),
    )


@dataclass(frozen=True)
class LiveTagOptions(TagOptions):
    """Tags of the drive, such as rain: frames with a tag are also scored apart."""

    replayer: str = option(
        "/bag_replayer",
        "bag_replayer that may play tags_topic, and says when each tag was recorded",
        form="NODE",
    )


@dataclass(frozen=True)
class PublisherOptions(
    ScoreOptions, WindowOptions, LiveTagOptions, EvaluatorTopicsOptions, LifecycleOptions
):
    """What is published and written."""

    publish_period: float = option(
        0.5,
        "shortest time between results, s; only changes are published",
        minimum=0.02,
        maximum=3600.0,
        at_runtime=True,
    )
    report_directory: str = option(
        "",
        "folder for report.json, report.html and report.md; created if it does not exist",
        at_runtime=True,
        unset="no report",
    )
    record: str = option(
        "",
        "folder of a new rosbag2 of the scores, the outcomes of frames and reduced overlays, at "
        "the images' stamps",
        unset="no recording",
        form="DIR",
    )
    save_report_on_shutdown: bool = option(
        default=True,
        text="write the report when the node shuts down, if report_directory is set",
        at_runtime=True,
    )
    criteria: str = option(
        "",
        "YAML file of what must be reached; checked in /diagnostics and in the report",
        unset="none",
        form="FILE",
    )
    startup_timeout: float = option(
        10.0,
        "warn if no evaluator has been heard for this many seconds after activation",
        minimum=0.1,
        maximum=3600.0,
        at_runtime=True,
    )


@dataclass(frozen=True)
class ReplayerOptions:
    """What is played, and how."""

    bag: str = option("", "rosbag2 to play: a folder, an .mcap file or a .db3 file")
    topics: tuple[str, ...] = option(
        (), "topics to play", unset="all whose message types are installed", example=("/a", "/b")
    )
    paced: bool = option(
        default=False,
        text="send as fast as the evaluators can score, without losing a message; ignores rate",
    )
    rate: float = option(
        1.0,
        "playback speed, unless paced; 2 plays twice as fast as recorded",
        minimum=0.001,
        maximum=1000.0,
    )
    start: float = option(
        0.0, "start this many seconds after the first message", minimum=0, maximum=_LONGEST_S
    )
    duration: float = option(
        0.0,
        "seconds to play, in recorded time",
        minimum=0,
        maximum=_LONGEST_S,
        unset="to the end",
    )
    loop: bool = option(default=False, text="start over at the end, until interrupted")
    clock_rate: float = option(
        40.0,
        "messages on /clock per second (recorded if paced, otherwise real); 0: no /clock",
        minimum=0,
        maximum=10_000,
    )
    evaluators: tuple[str, ...] = option(
        ("/deeplab_evaluator",), "evaluators that a paced replay waits for"
    )
    in_flight: int = option(
        8,
        "if paced, most messages in transit to an evaluator; must not exceed its input_depth",
        minimum=1,
        maximum=1000,
    )
    publisher: str = option(
        "", "miou_publisher that should save its report at the end", unset="none"
    )
    startup_timeout: float = option(
        60.0,
        "seconds to wait for evaluators, publisher and subscribers before the first message",
        minimum=0,
        maximum=_LONGEST_S,
    )
    stall_timeout: float = option(
        60.0,
        "give up a paced replay after this many seconds without progress",
        minimum=0.1,
        maximum=_LONGEST_S,
    )
    wait_for_subscribers: tuple[str, ...] = option(
        (),
        "topics that must have a subscriber before the first message",
        unset="none",
        example=("/a",),
    )
    progress: bool = option(
        default=True,
        text="show progress on stderr: a bar on a terminal, otherwise a line every 10 s",
    )


@dataclass(frozen=True)
class WatchOptions(LifecycleOptions):
    """What the page shows, and where."""

    publisher: str = option(
        "/miou_publisher", "miou_publisher whose scores are shown, with its evaluators", form="NODE"
    )
    replayer: str = option("/bag_replayer", "bag_replayer whose progress is shown", form="NODE")
    comparer: str = option(
        "/miou_comparer", "miou_comparer whose comparison is shown, if it runs", form="NODE"
    )
    host: str = option(
        "127.0.0.1",
        "address to serve the page on; 0.0.0.0 lets everybody in the network see it",
        form="ADDRESS",
    )
    port: int = option(
        8484, "port to serve the page on; 0: any that is free", minimum=0, maximum=65_535
    )


@dataclass(frozen=True)
class DuelOptions:
    """Evaluators to compare."""

    evaluator_a: str = option(
        "/deeplab_evaluator_a", "deeplab_evaluator of the current network", form="NODE"
    )
    evaluator_b: str = option(
        "/deeplab_evaluator_b", "deeplab_evaluator of the network to be judged", form="NODE"
    )
    compare_predictions: bool = option(
        default=True,
        text="also compare predictions, with or without labels; the evaluators then publish them",
    )
    labels: str = option(
        "",
        "label map that gives the colours of pictures: a name or a YAML file",
        unset="made-up colours",
        form="MAP",
    )


@dataclass(frozen=True)
class ComparerOptions(DuelOptions, LifecycleOptions):
    """What is published and written."""

    margin: float = option(
        0.005, "smaller differences in mIoU are irrelevant", minimum=0.0, maximum=1.0, form="IOU"
    )
    absent_classes: Literal["exclude", "zero"] = option(
        "exclude",
        "a class that occurs in neither the ground truth nor the prediction: exclude it from the "
        "mean, or count it as zero",
    )
    publish_period: float = option(
        1.0,
        "shortest time between comparisons, s; only changes are published",
        minimum=0.02,
        maximum=3600.0,
    )
    report_directory: str = option(
        "",
        "folder for compare.json, compare.html and compare.md, written when the node ends; created "
        "if it does not exist",
        unset="no report",
    )


@dataclass(frozen=True)
class FoxgloveOptions(LifecycleOptions):
    """What is served, and where."""

    host: str = option(
        "127.0.0.1",
        "address to serve Foxglove on; 0.0.0.0 lets everybody in the network look",
        form="ADDRESS",
    )
    port: int = option(
        8765, "port to serve Foxglove on; 0: any that is free", minimum=0, maximum=65_535
    )
    picture_rate: float = option(
        5.0,
        "most pictures per second sent of each image topic; they are sent as JPEG, made smaller",
        minimum=0.01,
        maximum=1000.0,
    )


# By the node's default name.
NODES: dict[str, type] = {
    "deeplab_evaluator": EvaluatorOptions,
    "miou_publisher": PublisherOptions,
    "bag_replayer": ReplayerOptions,
    "miou_watch": WatchOptions,
    "miou_comparer": ComparerOptions,
    "miou_foxglove": FoxgloveOptions,
}
NAMES = frozenset(each.name for declared in NODES.values() for each in options_of(declared))
