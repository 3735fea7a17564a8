"""Options of ``miou_publisher``."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option
from deeplab_miou.options.lifecycle import LifecycleOptions
from deeplab_miou.options.scoring import ScoreOptions, TagOptions, WindowOptions


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
    """Tags of the drive, such as rain: frames with a tag are also scored separately."""

    replayer: str = option(
        "/bag_replayer",
        "bag_replayer that may play tags_topic; it publishes when each tag was recorded",
        form="NODE",
    )


@dataclass(frozen=True)
class PublisherOptions(
    ScoreOptions, WindowOptions, LiveTagOptions, EvaluatorTopicsOptions, LifecycleOptions
):
    """What is published and written."""

    publish_period: float = option(
        0.5,
        "minimum time in seconds between results; only changes are published",
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
        "folder of a new rosbag2 with the scores, the outcome of each frame and small overlays, "
        "recorded at the images' stamps",
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
        "YAML file of thresholds for the scores; the outcome is in /diagnostics and the report",
        unset="none",
        form="FILE",
    )
    startup_timeout: float = option(
        10.0,
        "warn if nothing has arrived from an evaluator this many seconds after activation",
        minimum=0.1,
        maximum=3600.0,
        at_runtime=True,
    )
