"""Options of scoring, for the evaluator node and for ``deeplab-miou evaluate`` alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.options.declaration import option


@dataclass(frozen=True)
class TopicOptions:
    """Topics."""

    image_topic: str = option(
        "/camera/image",
        "camera images, sensor_msgs/Image or CompressedImage",
        form="TOPIC",
    )
    label_topic: str = option(
        "/camera/labels",
        "ground truth: label images (ids or colours), sensor_msgs/Image or CompressedImage",
        form="TOPIC",
    )
    depth_topic: str = option(
        "",
        "depth images registered to the camera's view, for regions by depth: sensor_msgs/Image or "
        "CompressedImage",
        form="TOPIC",
        unset="none",
    )


@dataclass(frozen=True)
class CheckpointOptions:
    """Settings that a checkpoint may not contain."""

    output_stride: Literal[0, 8, 16] = option(
        0, "output stride of the network", unset="as in the file or its code base"
    )
    atrous_rates: tuple[int, int, int] | None = option(
        None,
        "dilations of the three atrous branches (ASPP)",
        minimum=1,
        maximum=1024,
        unset="as in the file or its code base",
        example=(6, 12, 18),
        form="R,R,R",
    )
    weights: str = option(
        "",
        "which set of weights to use if the file contains several, such as model_ema",
        unset="the first of the usual names; the log says which",
        form="NAME",
    )
    input_size: tuple[int, int] | None = option(
        None,
        "height and width to which images are resized for the network",
        minimum=1,
        maximum=32768,
        unset="as in the file, otherwise the size of the image",
        example=(512, 1024),
        form="HxW",
    )
    mean: tuple[float, float, float] | None = option(
        None,
        "mean of R, G, B in 0..1, subtracted from images",
        unset="as in the file, otherwise ImageNet's",
        example=(0.485, 0.456, 0.406),
        form="R,G,B",
    )
    std: tuple[float, float, float] | None = option(
        None,
        "standard deviation of R, G, B in 0..1, by which images are divided",
        unset="as in the file, otherwise ImageNet's",
        example=(0.229, 0.224, 0.225),
        form="R,G,B",
    )
    channel_order: Literal["auto", "rgb", "bgr"] = option(
        "auto",
        "order of the colour channels the network was trained on (mean and std are always in the "
        "order R,G,B); auto: as in the file, otherwise rgb",
    )


@dataclass(frozen=True)
class EngineOptions(CheckpointOptions):
    """Predictions and labels."""

    source: Literal["network", "topic"] = option(
        "network",
        "where predictions come from: a network run by this node, or label images on image_topic",
    )
    checkpoint: str = option(
        "demo", "checkpoint file of the network, or demo for the bundled one", form="FILE"
    )
    labels: str = option(
        "",
        "label map of the ground truth: a name or a YAML file",
        unset="the checkpoint's own",
        form="MAP",
    )
    prediction_labels: str = option(
        "",
        "label map of predictions from a topic: a name or a YAML file",
        unset="they are train ids",
        form="MAP",
    )
    label_info_topic: str = option(
        "",
        "topic that publishes the class name of each id in the ground truth: "
        "vision_msgs/LabelInfo, or Isaac Sim's semantic_labels (JSON in std_msgs/String); replaces "
        "the ids of the label map",
        form="TOPIC",
        unset="the ids of the label map",
    )
    prediction_label_info_topic: str = option(
        "",
        "the same for predictions from a topic",
        form="TOPIC",
        unset="the ids of prediction_labels",
    )
    device: str = option(
        "auto", "device that runs the network: auto, cpu, cuda or cuda:N", form="DEVICE"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "precision of the network; auto: fp16 on a GPU if its labels agree with fp32"
    )
    backend: Literal["auto", "torch", "onnxruntime", "eager"] = option(
        "auto",
        "what runs the network; eager: plain PyTorch calls, for a GPU that causes trouble; auto: "
        "torch, or eager if torch does not work on the GPU",
    )
    rewrite: bool = option(
        default=True,
        text="use an equivalent, faster form of the decoder",
    )
    threads: int = option(
        0, "CPU threads for the network", minimum=0, maximum=1024, unset="PyTorch's choice"
    )
    batch_size: int = option(
        1, "maximum number of pairs in a batch of the network", minimum=1, maximum=256
    )
    score_at: Literal["label", "prediction"] = option(
        "label",
        "resolution to score at; prediction: labels are resized to it by nearest neighbour",
    )
    regions: str = option(
        "",
        "YAML file of regions that are scored separately, or not at all",
        form="FILE",
        unset="only the whole image",
    )
    error_types: bool = option(
        default=False,
        text="sort each class's mistakes into boundary, extent and segment errors, and compute "
        "boundary IoU; costs CPU time for each frame",
    )


@dataclass(frozen=True)
class PairingOptions:
    """How images and labels are paired."""

    sync_tolerance: float = option(
        0.0,
        "largest difference in seconds between the stamps of an image and its label",
        minimum=0.0,
        maximum=10.0,
        unset="stamps must be equal",
        form="S",
    )


@dataclass(frozen=True)
class ScoreOptions:
    """How scores are computed from the counts."""

    absent_classes: Literal["exclude", "zero"] = option(
        "exclude",
        "whether a class that occurs in neither the ground truth nor the prediction is excluded "
        "from the mean or counts as zero",
        at_runtime=True,
    )
    class_weights: tuple[float, ...] = option(
        (),
        "weights of the classes in weighted_miou, in class-id order",
        minimum=0.0,
        at_runtime=True,
        unset="all 1",
        example=(1.0, 1.0, 2.0),
        form="W,W,...",
    )
    bootstrap_block_s: float = option(
        1.0,
        "length in seconds, by stamps, of the blocks that the bootstrap resamples for intervals",
        minimum=0.001,
        maximum=3600.0,
        form="S",
    )


@dataclass(frozen=True)
class TagOptions:
    """Tags of the drive, such as rain: frames with a tag are also scored separately."""

    tags: str = option(
        "",
        "CSV or YAML file of times and tags",
        unset="no file",
        form="FILE",
    )
    tags_topic: str = option(
        "",
        "topic of tags, std_msgs/String or diagnostic_msgs/KeyValue; each applies until the next "
        "one with the same key",
        unset="no topic",
        form="TOPIC",
    )

    def check_tags(self) -> None:
        """Complain about tags of two sources.

        Raises:
            ConfigurationError: there are.
        """
        if self.tags and self.tags_topic:
            raise ConfigurationError(
                f"tags come from a file ({self.tags!r}) or from a topic ({self.tags_topic!r}), "
                "not from both: leave out one"
            )


@dataclass(frozen=True)
class WindowOptions:
    """The window."""

    window_frames: int = option(
        100, "maximum number of frames in the window; 0: no limit", minimum=0, maximum=100_000
    )
    window_seconds: float = option(
        0.0,
        "length of the window in seconds, by stamps; 0: no limit",
        minimum=0.0,
        maximum=86_400.0,
    )
