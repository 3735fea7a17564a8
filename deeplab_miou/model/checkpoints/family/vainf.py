"""Checkpoints of VainF/DeepLabV3Plus-Pytorch; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import (
    head_convolution,
    mobilenet,
    nested_block,
    pair,
    resnet,
    sequential_aspp,
    sequential_head,
    split_feature,
)
from deeplab_miou.model.checkpoints.family.reading import (
    LAST_FEATURE,
    RATES,
    columns,
    mobilenet_width,
    rows,
    with_resnet,
)
from deeplab_miou.model.network.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout
    from deeplab_miou.model.network.blocks import Convolution


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of VainF/DeepLabV3Plus-Pytorch."""
    head = "classifier.classifier"
    separable = f"{head}.0.body.0.weight" in tensors
    kind: Convolution = "separable" if separable else "dense"
    architecture = Architecture(
        num_classes=rows(tensors, f"{head}.3"),
        output_stride=stride,
        atrous_rates=RATES[stride],
        aspp_width=rows(tensors, "classifier.aspp.project.0"),
        aspp_convolution=kind,
        low_width=rows(tensors, "classifier.project.0"),
        decoder_width=columns(tensors, f"{head}.3"),
        decoder_convolution=kind,
        dilation_rule="contracted",
    )
    return _with_backbone(architecture, tensors)


def describe_v3(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a DeepLabv3 of VainF/DeepLabV3Plus-Pytorch."""
    head = "classifier.classifier"
    architecture = Architecture(
        num_classes=rows(tensors, f"{head}.4"),
        output_stride=stride,
        atrous_rates=RATES[stride],
        aspp_width=rows(tensors, f"{head}.0.project.0"),
        low_width=0,
        decoder_width=columns(tensors, f"{head}.4"),
        dilation_rule="contracted",
    )
    return _with_backbone(architecture, tensors)


def _with_backbone(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    if "backbone.low_level_features.0.0.weight" in tensors:
        last = rows(tensors, f"backbone.high_level_features.{LAST_FEATURE}.conv.2")
        return dataclasses.replace(
            architecture,
            width=mobilenet_width(last),
            pad_before_expansion=True,
            stem_padding=0,
        )
    return with_resnet(architecture, tensors, "backbone")


def layout(architecture: Architecture) -> Layout:
    """Return the layout of VainF/DeepLabV3Plus-Pytorch."""
    found = _backbone_layout(architecture)
    found |= sequential_aspp(architecture, "classifier.aspp", body=".body")
    found |= pair("decoder.low", "classifier.project.0", ".1")
    found |= head_convolution(
        architecture.decoder_convolution, "decoder.convolutions.0", "classifier.classifier", ".body"
    )
    return found | {"decoder.classify": "classifier.classifier.3"}


def layout_v3(architecture: Architecture) -> Layout:
    """Return the layout of a DeepLabv3 of VainF/DeepLabV3Plus-Pytorch."""
    return _backbone_layout(architecture) | sequential_head(architecture, "classifier.classifier")


def _backbone_layout(architecture: Architecture) -> Layout:
    if architecture.backbone == "mobilenet_v2":
        found = mobilenet(architecture, nested_block, split_feature)
        return found | pair("backbone.stem", "backbone.low_level_features.0.0", ".1")
    return resnet(architecture, "backbone")


FAMILY = Family(
    name="VainF",
    signature="classifier.aspp.convs.",
    output_stride=16,
    describe=describe,
    layout=layout,
)

FAMILY_V3 = Family(
    name="VainF DeepLabv3",
    signature="classifier.classifier.0.convs.",
    output_stride=16,
    describe=describe_v3,
    layout=layout_v3,
)
