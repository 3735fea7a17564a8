"""The parameters of ``miou_publisher``."""

from __future__ import annotations

from deeplab_miou.nodes.parameters.table import Parameter

PARAMETERS = (
    Parameter(
        "confusion_topics",
        default=["/deeplab_evaluator/confusion"],
        description="topics of the evaluators' cumulative states (ConfusionMatrix)",
    ),
    Parameter(
        "frame_topics",
        default=[],
        description="topics of the evaluators' frame outcomes (FrameScore), for window and "
        "intervals; empty: beside each confusion topic, named frame",
    ),
    Parameter(
        "publish_period",
        default=0.5,
        description="results are published when they change, at most this often, s",
        minimum=0.02,
        maximum=3600.0,
        read_only=False,
    ),
    Parameter(
        "window_frames",
        default=100,
        description="frames in the window of ~/window; 0: no limit by frames",
        minimum=0,
        maximum=100_000,
    ),
    Parameter(
        "window_seconds",
        default=0.0,
        description="length of the window of ~/window in seconds of stamps; 0: no limit by time",
        minimum=0.0,
        maximum=86_400.0,
    ),
    Parameter(
        "absent_classes",
        default="exclude",
        description="what a class without a pixel in ground truth and prediction is in the mean: "
        "left out, or an IoU of zero",
        choices=("exclude", "zero"),
        read_only=False,
    ),
    Parameter(
        "class_weights",
        default=[],
        description="weight of each class in weighted_miou, in id order; empty: all one",
        minimum=0.0,
        element=float,
        read_only=False,
    ),
    Parameter(
        "bootstrap_block_s",
        default=1.0,
        description="length of the blocks of stamp time that the intervals are drawn from, s",
        minimum=0.001,
        maximum=3600.0,
    ),
    Parameter(
        "report_directory",
        default="",
        description="folder that report.json is written to, made if need be; empty: no report",
        read_only=False,
    ),
    Parameter(
        "save_report_on_shutdown",
        default=True,
        description="write the report when the node ends, if report_directory is set",
        read_only=False,
    ),
    Parameter(
        "startup_timeout",
        default=10.0,
        description="warn when no evaluator has been heard for so long after activation, s",
        minimum=0.1,
        maximum=3600.0,
        read_only=False,
    ),
)
