"""Options of scoring, for the evaluator node and for ``deeplab-miou evaluate`` alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab_miou.options.declaration import option


@dataclass(frozen=True)
class TopicOptions:
    """Topics."""

    image_topic: str = option(
        "/camera/image",
        "images, sensor_msgs/Image or CompressedImage",
        form="TOPIC",
    )
    label_topic: str = option(
        "/camera/labels",
        "ground truth: label images (ids or colours), sensor_msgs/Image or CompressedImage",
        form="TOPIC",
    )


@dataclass(frozen=True)
class CheckpointOptions:
    """What the checkpoint's file may not say."""

    output_stride: Literal[0, 8, 16] = option(
        0, "output stride of a file of weights", unset="what the file or its code base says"
    )
    atrous_rates: tuple[int, int, int] | None = option(
        None,
        "dilations of the three atrous branches (ASPP) of a file of weights",
        minimum=1,
        maximum=1024,
        unset="what the file or its code base says",
        example=(6, 12, 18),
        form="R,R,R",
    )
    weights: str = option(
        "",
        "which network's weights to take of a file that holds several, such as model_ema",
        unset="the first of the usual names, said in the log",
        form="NAME",
    )
    input_size: tuple[int, int] | None = option(
        None,
        "height and width that images are resized to for the network",
        minimum=1,
        maximum=32768,
        unset="what the file says, else images are left as they are",
        example=(512, 1024),
        form="HxW",
    )
    mean: tuple[float, float, float] | None = option(
        None,
        "mean of RGB in 0..1, which is subtracted from images",
        unset="what the file says, else ImageNet's",
        example=(0.485, 0.456, 0.406),
        form="R,G,B",
    )
    std: tuple[float, float, float] | None = option(
        None,
        "standard deviation of RGB in 0..1, which images are divided by",
        unset="what the file says, else ImageNet's",
        example=(0.229, 0.224, 0.225),
        form="R,G,B",
    )
    channel_order: Literal["auto", "rgb", "bgr"] = option(
        "auto",
        "order of colours that the network was trained on, mean and std being of R,G,B all the "
        "same; auto: what the file says, else rgb",
    )


@dataclass(frozen=True)
class EngineOptions(CheckpointOptions):
    """Where predictions come from, and how they are scored."""

    source: Literal["network", "topic"] = option(
        "network",
        "where predictions come from: a network that runs here, or label images on image_topic",
    )
    checkpoint: str = option(
        "demo", "file of the network, or demo for the one that ships", form="FILE"
    )
    labels: str = option(
        "",
        "label map of the ground truth, name or YAML file",
        unset="the checkpoint's own",
        form="MAP",
    )
    prediction_labels: str = option(
        "",
        "with predictions of a topic, label map of their ids or colours, name or YAML file",
        unset="they are train ids",
        form="MAP",
    )
    device: str = option("auto", "where the network runs: auto, cpu, cuda or cuda:N", form="DEVICE")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "what the network computes in; auto: fp16 on a GPU where it agrees"
    )
    backend: Literal["auto", "torch", "onnxruntime", "eager"] = option(
        "auto",
        "what runs the network; eager: by ordinary PyTorch calls, a way out of trouble with a GPU; "
        "auto: torch, or eager where a GPU cannot do that",
    )
    rewrite: bool = option(
        default=True,
        text="compute with the decoder rewritten, which gives the same labels sooner",
    )
    threads: int = option(
        0, "CPU threads of the network", minimum=0, maximum=1024, unset="PyTorch's choice"
    )
    score_at: Literal["label", "prediction"] = option(
        "label",
        "whose resolution is scored; with prediction, labels are resized by nearest neighbour",
    )


@dataclass(frozen=True)
class PairingOptions:
    """How images and labels are paired."""

    sync_tolerance: float = option(
        0.0,
        "greatest difference of the stamps of an image and its label, s",
        minimum=0.0,
        maximum=10.0,
        unset="equal stamps only",
        form="S",
    )


@dataclass(frozen=True)
class ScoreOptions:
    """How scores are computed from the counts."""

    absent_classes: Literal["exclude", "zero"] = option(
        "exclude",
        "what a class without a pixel in ground truth and prediction is in the mean: left out, or "
        "an IoU of zero",
        live=True,
    )
    class_weights: tuple[float, ...] = option(
        (),
        "weight of each class in weighted_miou, in the order of their ids",
        minimum=0.0,
        live=True,
        unset="all one",
        example=(1.0, 1.0, 2.0),
        form="W,W,...",
    )
    bootstrap_block_s: float = option(
        1.0,
        "length of the blocks of stamp time that the intervals are drawn from, s",
        minimum=0.001,
        maximum=3600.0,
        form="S",
    )
