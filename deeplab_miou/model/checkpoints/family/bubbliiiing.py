"""Checkpoints of bubbliiiing/deeplabv3-plus-pytorch; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.checkpoint import Preprocessing
from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import flat_block, mobilenet, pair
from deeplab_miou.model.checkpoints.family.reading import (
    LAST_FEATURE,
    RATES,
    columns,
    mobilenet_width,
    rows,
)
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.xception import XCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout


def describe(tensors: Mapping[str, Tensor], stride: int) -> Architecture:
    """Describe a network of bubbliiiing/deeplabv3-plus-pytorch."""
    architecture = Architecture(
        num_classes=rows(tensors, "cls_conv"),
        output_stride=stride,
        dilation_rule="contracted",
        atrous_rates=RATES[stride],
        aspp_width=rows(tensors, "aspp.conv_cat.0"),
        low_width=rows(tensors, "shortcut_conv.0"),
        decoder_width=columns(tensors, "cls_conv"),
        decoder_layers=2,
        concatenation="aspp_first",
        align_corners=True,
    )
    if "backbone.block1.skip.weight" in tensors:
        return dataclasses.replace(architecture, backbone="aligned_xception65")
    last = rows(tensors, f"backbone.features.{LAST_FEATURE}.conv.6")
    return dataclasses.replace(architecture, width=mobilenet_width(last))


def layout(architecture: Architecture) -> Layout:
    """Return the layout of bubbliiiing/deeplabv3-plus-pytorch."""
    if architecture.backbone == "mobilenet_v2":
        found = mobilenet(architecture, flat_block, lambda index: f"backbone.features.{index}")
        found |= pair("backbone.stem", "backbone.features.0.0", ".1")
    else:
        found = _xception()
    for index in range(4):
        found |= pair(f"aspp.branches.{index}", f"aspp.branch{index + 1}.0", ".1")
    found |= pair("aspp.pooling.mix", "aspp.branch5_conv", ".branch5_bn")
    found |= pair("aspp.project", "aspp.conv_cat.0", ".1")
    found |= pair("decoder.low", "shortcut_conv.0", ".1")
    found |= pair("decoder.convolutions.0", "cat_conv.0", ".1")
    found |= pair("decoder.convolutions.1", "cat_conv.4", ".5")
    return found | {"decoder.classify": "cls_conv"}


def _xception() -> Layout:
    layout: Layout = {}
    shape = XCEPTIONS["aligned_xception65"](16)
    for index in range(2):
        layout |= pair(f"backbone.stem.{index}", f"backbone.conv{index + 1}", f".bn{index + 1}")
    for number, stage in enumerate(shape.stages, start=1):
        ours, theirs = f"backbone.stages.{number - 1}", f"backbone.block{number}"
        layout |= pair(f"{ours}.shortcut", f"{theirs}.skip", ".skipbn")
        for index in range(len(stage.convolutions)):
            layout |= _separable(f"{ours}.convolutions.{index}", f"{theirs}.sepconv{index + 1}")
    for index in range(len(shape.exit)):
        layout |= _separable(f"backbone.exit.{index}", f"backbone.conv{index + 3}")
    return layout


def _separable(ours: str, theirs: str) -> Layout:
    layout = pair(f"{ours}.depthwise", f"{theirs}.depthwise", ".bn1")
    return layout | pair(f"{ours}.pointwise", f"{theirs}.pointwise", ".bn2")


FAMILY = Family(
    name="bubbliiiing",
    signature="aspp.branch5_conv.",
    output_stride=16,
    describe=describe,
    layout=layout,
    preprocessing=Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
)
