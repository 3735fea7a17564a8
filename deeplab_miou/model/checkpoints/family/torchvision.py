"""Checkpoints of torchvision's DeepLabv3; facts and names are from its code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import resnet, sequential_head
from deeplab_miou.model.checkpoints.family.reading import RATES, columns, rows, with_resnet
from deeplab_miou.model.network.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of torchvision, whose rates are those of stride 8 at any stride."""
    architecture = Architecture(
        num_classes=rows(tensors, "classifier.4"),
        output_stride=stride,
        atrous_rates=RATES[8],
        aspp_width=rows(tensors, "classifier.0.project.0"),
        low_width=0,
        decoder_width=columns(tensors, "classifier.4"),
        dilation_rule="contracted",
    )
    return with_resnet(architecture, tensors, "backbone")


def layout(architecture: Architecture) -> Layout:
    """Return the layout of torchvision."""
    return resnet(architecture, "backbone") | sequential_head(architecture, "classifier")


FAMILY = Family(
    name="torchvision DeepLabv3",
    signature="classifier.0.convs.",
    output_stride=8,
    describe=describe,
    layout=layout,
    ignored=("aux_classifier.",),
)
