"""Checkpoints of qubvel-org/segmentation_models.pytorch; facts and names are from its code."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import (
    head_convolution,
    pair,
    separable,
    sequential_aspp,
)
from deeplab_miou.model.checkpoints.family.reading import RATES, columns, rows
from deeplab_miou.model.checkpoints.family.smp_config import stated
from deeplab_miou.model.checkpoints.family.smp_encoders import (
    UNUSED,
    encoder_layout,
    with_encoder,
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
    return with_encoder(architecture, tensors)


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
    return with_encoder(architecture, tensors)


def layout(architecture: Architecture) -> Layout:
    """Return the layout of segmentation_models_pytorch."""
    found = encoder_layout(architecture) | sequential_aspp(architecture, "decoder.aspp.0", body="")
    found |= separable("aspp.refine", "decoder.aspp.1.0", "decoder.aspp.1.1", "decoder.aspp.2")
    found |= pair("decoder.low", "decoder.block1.0", ".1")
    found |= head_convolution("separable", "decoder.convolutions.0", "decoder.block2", "")
    return found | {"decoder.classify": "segmentation_head.0"}


def layout_v3(architecture: Architecture) -> Layout:
    """Return the layout of a DeepLabv3 of segmentation_models_pytorch."""
    found = encoder_layout(architecture) | sequential_aspp(architecture, "decoder.aspp", body="")
    found |= pair("decoder.convolutions.0", "decoder.conv", ".bn")
    return found | {"decoder.classify": "segmentation_head.0"}


def layout_v3_older(architecture: Architecture) -> Layout:
    """Return the layout of a DeepLabv3 of segmentation_models_pytorch up to 0.3, a sequence."""
    found = encoder_layout(architecture) | sequential_aspp(architecture, "decoder.0", body="")
    found |= pair("decoder.convolutions.0", "decoder.1", ".2")
    return found | {"decoder.classify": "segmentation_head.0"}


# The auxiliary head classifies whole images.
IGNORED = ("classification_head.", *UNUSED)

FAMILY = Family(
    name="segmentation_models_pytorch",
    signature="decoder.aspp.0.convs.",
    output_stride=16,
    describe=describe,
    layout=layout,
    ignored=IGNORED,
    stated=stated,
)

FAMILY_V3 = Family(
    name="segmentation_models_pytorch DeepLabv3",
    signature="decoder.aspp.convs.",
    output_stride=8,
    describe=describe_v3,
    layout=layout_v3,
    ignored=IGNORED,
    stated=stated,
)

FAMILY_V3_OLDER = Family(
    name="older segmentation_models_pytorch DeepLabv3",
    signature="decoder.0.convs.",
    output_stride=8,
    describe=partial(describe_v3, aspp="decoder.0"),
    layout=layout_v3_older,
    ignored=IGNORED,
    stated=stated,
)

FAMILIES = (FAMILY, FAMILY_V3, FAMILY_V3_OLDER)
