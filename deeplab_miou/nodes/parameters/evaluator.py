"""The parameters of ``deeplab_evaluator``."""

from __future__ import annotations

from deeplab_miou.nodes.evaluator.inputs import AUTO
from deeplab_miou.nodes.parameters.table import Parameter

_RELIABILITIES = (AUTO, "reliable", "best_effort")
_DURABILITIES = (AUTO, "volatile", "transient_local")

PARAMETERS = (
    Parameter(
        "image_topic",
        "/camera/image",
        "images, sensor_msgs/Image or CompressedImage; with source: topic the predictions",
    ),
    Parameter(
        "label_topic",
        "/camera/labels",
        "ground truth, label images (ids or colours) of sensor_msgs/Image or CompressedImage",
    ),
    Parameter(
        "source",
        "network",
        "where predictions come from: a network that runs here, or label images on image_topic",
        choices=("network", "topic"),
    ),
    Parameter("checkpoint", "demo", "file of the network, or demo for the one that ships"),
    Parameter(
        "labels", "", "label map of the labels, name or YAML file; empty for the checkpoint's own"
    ),
    Parameter(
        "output_stride",
        0,
        "of a checkpoint of weights, 8 or 16; 0 for what the file or its code base says",
        choices=(0, 8, 16),
    ),
    Parameter(
        "input_size",
        [],
        "height and width that images are resized to for the network; empty for what the file says",
        minimum=1,
        maximum=32768,
        element=int,
    ),
    Parameter(
        "mean",
        [],
        "of RGB in 0..1, three numbers subtracted from images; empty for what the file says",
        element=float,
    ),
    Parameter(
        "std",
        [],
        "of RGB in 0..1, three numbers that images are divided by; empty for what the file says",
        element=float,
    ),
    Parameter(
        "prediction_labels",
        "",
        "with source: topic, label map of the predictions' ids or colours; empty for train ids",
    ),
    Parameter("device", "auto", "where the network runs: auto, cpu, cuda or cuda:N"),
    Parameter(
        "precision",
        "auto",
        "what the network computes in",
        choices=("auto", "fp32", "bf16", "fp16"),
    ),
    Parameter(
        "backend",
        "auto",
        "what runs the network; eager: by ordinary PyTorch calls, a way out of trouble with a GPU; "
        "auto: torch, or eager where a GPU cannot do that",
        choices=("auto", "torch", "onnxruntime", "eager"),
    ),
    Parameter(
        "rewrite",
        default=True,
        description="compute with the decoder rewritten, which gives the same labels sooner",
    ),
    Parameter(
        "threads", 0, "CPU threads of the network; 0 leaves it to PyTorch", minimum=0, maximum=1024
    ),
    Parameter(
        "score_at",
        "label",
        "whose resolution is scored; with prediction, labels are resized by nearest neighbour",
        choices=("label", "prediction"),
    ),
    Parameter(
        "sync_tolerance",
        0.0,
        "greatest difference of the stamps of an image and its label, seconds; 0 for equal stamps",
        minimum=0.0,
        maximum=10.0,
    ),
    Parameter(
        "hold_frames",
        300,
        "images, and as many labels, that wait for their partner; then the oldest is given up",
        minimum=1,
        maximum=100_000,
    ),
    Parameter(
        "hold_mebibytes",
        512,
        "memory of all that waits for a partner; then the oldest is given up",
        minimum=1,
        maximum=1_048_576,
    ),
    Parameter("queue_size", 8, "pairs that wait for the network", minimum=1, maximum=10_000),
    Parameter(
        "overflow",
        "drop_oldest",
        "what happens to a pair when the queue is full; block is for paced replays only",
        choices=("drop_oldest", "drop_newest", "block"),
    ),
    Parameter("batch_size", 1, "most pairs that the network takes at once", minimum=1, maximum=256),
    Parameter(
        "on_clock_jump",
        "continue",
        "when time jumps back (a bag that loops): go on counting, or start a new run",
        choices=("continue", "reset"),
    ),
    Parameter(
        "clock_jump_threshold",
        10.0,
        "stamps further back than this, in seconds, mean that time jumped back",
        minimum=0.1,
        maximum=86_400.0,
    ),
    Parameter(
        "image_reliability",
        AUTO,
        "quality of service of the image subscription; auto takes what is offered",
        choices=_RELIABILITIES,
    ),
    Parameter(
        "label_reliability",
        AUTO,
        "quality of service of the label subscription; auto takes what is offered",
        choices=_RELIABILITIES,
    ),
    Parameter(
        "image_durability",
        AUTO,
        "quality of service of the image subscription; auto takes what is offered",
        choices=_DURABILITIES,
    ),
    Parameter(
        "label_durability",
        AUTO,
        "quality of service of the label subscription; auto takes what is offered",
        choices=_DURABILITIES,
    ),
    Parameter(
        "input_depth",
        50,
        "messages of each input that the middleware keeps for the node",
        minimum=1,
        maximum=10_000,
    ),
    Parameter(
        "startup_timeout",
        10.0,
        "seconds without a publisher on an input after which the node warns",
        minimum=0.1,
        maximum=86_400.0,
        read_only=False,
    ),
    Parameter(
        "publish_period",
        0.2,
        "seconds between two messages on ~/confusion, at least",
        minimum=0.01,
        maximum=3600.0,
        read_only=False,
    ),
)
