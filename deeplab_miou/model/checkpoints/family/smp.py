"""Checkpoints of qubvel-org/segmentation_models.pytorch; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import (
    head_convolution,
    mobilenet,
    nested_block,
    pair,
    resnet,
    separable,
    sequential_aspp,
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


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of segmentation_models_pytorch."""
    separable = "decoder.aspp.0.convs.1.0.1.weight" in tensors
    architecture = Architecture(
        num_classes=rows(tensors, "segmentation_head.0"),
        output_stride=stride,
        atrous_rates=RATES[8],
        aspp_width=rows(tensors, "decoder.aspp.0.project.0"),
        aspp_convolution="separable" if separable else "dense",
        aspp_refine=True,
        low_width=rows(tensors, "decoder.block1.0"),
        decoder_width=columns(tensors, "segmentation_head.0"),
        decoder_convolution="separable",
        concatenation="aspp_first",
        align_corners=True,
    )
    return _with_encoder(architecture, tensors)


def describe_v3(
    tensors: Mapping[str, Tensor], stride: int, aspp: str = "decoder.aspp"
) -> Architecture:
    """Describe a DeepLabv3 of segmentation_models_pytorch."""
    separable = f"{aspp}.convs.1.0.1.weight" in tensors
    architecture = Architecture(
        num_classes=rows(tensors, "segmentation_head.0"),
        output_stride=stride,
        atrous_rates=RATES[8],
        aspp_width=rows(tensors, f"{aspp}.project.0"),
        aspp_convolution="separable" if separable else "dense",
        low_width=0,
        decoder_width=columns(tensors, "segmentation_head.0"),
        align_corners=True,
    )
    return _with_encoder(architecture, tensors)


def _with_encoder(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    if "encoder.features.0.0.weight" in tensors:
        last = rows(tensors, f"encoder.features.{LAST_FEATURE}.conv.2")
        return dataclasses.replace(
            architecture,
            width=mobilenet_width(last),
            head_channels=rows(tensors, f"encoder.features.{LAST_FEATURE + 1}.0"),
        )
    return with_resnet(architecture, tensors, "encoder")


def layout(architecture: Architecture) -> Layout:
    """Return the layout of segmentation_models_pytorch."""
    found = _encoder_layout(architecture) | sequential_aspp(architecture, "decoder.aspp.0", body="")
    found |= separable("aspp.refine", "decoder.aspp.1.0", "decoder.aspp.1.1", "decoder.aspp.2")
    found |= pair("decoder.low", "decoder.block1.0", ".1")
    found |= head_convolution("separable", "decoder.convolutions.0", "decoder.block2", "")
    return found | {"decoder.classify": "segmentation_head.0"}


def layout_v3(architecture: Architecture) -> Layout:
    """Return the layout of a DeepLabv3 of segmentation_models_pytorch."""
    found = _encoder_layout(architecture) | sequential_aspp(architecture, "decoder.aspp", body="")
    found |= pair("decoder.convolutions.0", "decoder.conv", ".bn")
    return found | {"decoder.classify": "segmentation_head.0"}


def layout_v3_older(architecture: Architecture) -> Layout:
    """Return the layout of a DeepLabv3 of segmentation_models_pytorch up to 0.3, a sequence."""
    found = _encoder_layout(architecture) | sequential_aspp(architecture, "decoder.0", body="")
    found |= pair("decoder.convolutions.0", "decoder.1", ".2")
    return found | {"decoder.classify": "segmentation_head.0"}


def _encoder_layout(architecture: Architecture) -> Layout:
    if architecture.backbone == "mobilenet_v2":
        found = mobilenet(nested_block, lambda index: f"encoder.features.{index}")
        found |= pair("backbone.stem", "encoder.features.0.0", ".1")
        return found | pair("backbone.head", "encoder.features.18.0", ".1")
    return resnet(architecture, "encoder")


FAMILY = Family(
    name="segmentation_models_pytorch",
    signature="decoder.aspp.0.convs.",
    output_stride=16,
    describe=describe,
    layout=layout,
)

FAMILY_V3 = Family(
    name="segmentation_models_pytorch DeepLabv3",
    signature="decoder.aspp.convs.",
    output_stride=8,
    describe=describe_v3,
    layout=layout_v3,
)

FAMILY_V3_OLDER = Family(
    name="older segmentation_models_pytorch DeepLabv3",
    signature="decoder.0.convs.",
    output_stride=8,
    describe=partial(describe_v3, aspp="decoder.0"),
    layout=layout_v3_older,
)

FAMILIES = (FAMILY, FAMILY_V3, FAMILY_V3_OLDER)
