"""Checkpoints of jfzhang95/pytorch-deeplab-xception; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import (
    flat_block,
    mobilenet,
    pair,
    resnet,
    split_feature,
    xception,
)
from deeplab_miou.model.checkpoints.family.reading import (
    LAST_FEATURE,
    RATES,
    columns,
    mobilenet_width,
    multi_grid,
    rows,
    with_resnet,
)
from deeplab_miou.model.network.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of jfzhang95/pytorch-deeplab-xception."""
    architecture = Architecture(
        num_classes=rows(tensors, "decoder.last_conv.8"),
        output_stride=stride,
        atrous_rates=RATES[stride],
        aspp_width=rows(tensors, "aspp.conv1"),
        low_width=rows(tensors, "decoder.conv1"),
        decoder_width=columns(tensors, "decoder.last_conv.8"),
        decoder_layers=2,
        concatenation="aspp_first",
        align_corners=True,
    )
    if "backbone.low_level_features.0.0.weight" in tensors:
        last = rows(tensors, f"backbone.high_level_features.{LAST_FEATURE}.conv.6")
        return dataclasses.replace(
            architecture,
            width=mobilenet_width(last),
            pad_before_expansion=True,
            dilation_rule="delayed",
        )
    if "backbone.conv5.pointwise.weight" in tensors:
        return dataclasses.replace(architecture, backbone="xception65")
    architecture = dataclasses.replace(architecture, multi_grid=multi_grid(stride))
    return with_resnet(architecture, tensors, "backbone")


def layout(architecture: Architecture) -> Layout:
    """Return the layout of jfzhang95/pytorch-deeplab-xception."""
    if architecture.backbone == "mobilenet_v2":
        found = mobilenet(architecture, flat_block, split_feature)
        found |= pair("backbone.stem", "backbone.low_level_features.0.0", ".1")
    elif architecture.backbone == "xception65":
        found = xception(architecture.backbone)
    else:
        found = resnet(architecture, "backbone")
    for index in range(4):
        ours, theirs = f"aspp.branches.{index}", f"aspp.aspp{index + 1}"
        found |= {f"{ours}.conv": f"{theirs}.atrous_conv", f"{ours}.norm": f"{theirs}.bn"}
    found |= pair("aspp.pooling.mix", "aspp.global_avg_pool.1", ".2")
    found |= {"aspp.project.conv": "aspp.conv1", "aspp.project.norm": "aspp.bn1"}
    found |= {"decoder.low.conv": "decoder.conv1", "decoder.low.norm": "decoder.bn1"}
    found |= pair("decoder.convolutions.0", "decoder.last_conv.0", ".1")
    found |= pair("decoder.convolutions.1", "decoder.last_conv.4", ".5")
    return found | {"decoder.classify": "decoder.last_conv.8"}


# Its MobileNetV2 registers each layer twice.
FAMILY = Family(
    name="jfzhang95",
    signature="aspp.aspp1.atrous_conv",
    output_stride=16,
    describe=describe,
    layout=layout,
    ignored=("backbone.features.",),
)
