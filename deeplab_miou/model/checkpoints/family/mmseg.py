"""Checkpoints of open-mmlab/mmsegmentation 1.x; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import (
    block_parts,
    mobile_blocks,
    module,
    pair,
    resnet,
)
from deeplab_miou.model.checkpoints.family.reading import (
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
    """Describe a network of mmsegmentation 1.x."""
    head = "decode_head"
    architecture = Architecture(
        num_classes=rows(tensors, f"{head}.conv_seg"),
        output_stride=stride,
        atrous_rates=RATES[stride],
        aspp_width=rows(tensors, f"{head}.bottleneck.conv"),
        aspp_convolution="separable_bn",
        aspp_project_kernel=3,
        aspp_pool_first=True,
        low_width=rows(tensors, f"{head}.c1_bottleneck.conv"),
        decoder_width=columns(tensors, f"{head}.conv_seg"),
        decoder_layers=2,
        decoder_convolution="separable_bn",
        concatenation="aspp_first",
    )
    if "backbone.layer1.0.conv.1.conv.weight" in tensors:
        last = rows(tensors, "backbone.layer7.0.conv.2.conv")
        return dataclasses.replace(architecture, width=mobilenet_width(last), dilation_rule="first")
    architecture = dataclasses.replace(
        architecture,
        dilation_rule="contracted",
        dilate_both=False,
        # Its only configuration at stride 16 is "d16-mg124".
        multi_grid=(1, 2, 4) if stride == 16 else (),  # noqa: PLR2004
    )
    return with_resnet(architecture, tensors, "backbone")


def layout(architecture: Architecture) -> Layout:
    """Return the layout of mmsegmentation's DepthwiseSeparableASPPHead."""
    head = "decode_head"
    if architecture.backbone == "mobilenet_v2":
        found = module("backbone.stem", "backbone.conv1")
        for block in mobile_blocks(architecture):
            theirs = f"backbone.layer{block.stage + 1}.{block.number}"
            for index, part in enumerate(block_parts(expands=block.expands)):
                found |= module(f"{block.name}.{part}", f"{theirs}.conv.{index}")
    else:
        found = resnet(architecture, "backbone")
        if architecture.stem == "deep":
            for index in range(3):
                found |= pair(
                    f"backbone.stem.{index}", f"backbone.stem.{3 * index}", f".{3 * index + 1}"
                )
    found |= module("aspp.pooling.mix", f"{head}.image_pool.1")
    found |= module("aspp.branches.0", f"{head}.aspp_modules.0")
    found |= module("aspp.project", f"{head}.bottleneck")
    found |= module("decoder.low", f"{head}.c1_bottleneck")
    for index in range(1, 4):
        found |= _separable_module(f"aspp.branches.{index}", f"{head}.aspp_modules.{index}")
    for index in range(architecture.decoder_layers):
        found |= _separable_module(
            f"decoder.convolutions.{index}", f"{head}.sep_bottleneck.{index}"
        )
    return found | {"decoder.classify": f"{head}.conv_seg"}


def _separable_module(ours: str, theirs: str) -> Layout:
    return module(f"{ours}.depthwise", f"{theirs}.depthwise_conv") | module(
        f"{ours}.pointwise", f"{theirs}.pointwise_conv"
    )


FAMILY = Family(
    name="mmsegmentation",
    signature="decode_head.sep_bottleneck.",
    output_stride=8,
    describe=describe,
    layout=layout,
    ignored=("auxiliary_head.",),
)
