"""Checkpoints of VainF/DeepLabV3Plus-Pytorch; facts and names are from its code."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, cast

from deeplab_miou.errors import ConfigurationError
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
    xception,
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
from deeplab_miou.model.network.hrnet import (
    HRNET_BLOCKS,
    HRNET_MODULES,
    HRNET_STRIDE,
    HRNET_WIDTHS,
)
from deeplab_miou.model.network.xception import XCEPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout
    from deeplab_miou.model.network.architecture import BackboneKind
    from deeplab_miou.model.network.blocks import Convolution

_HRNET_BRANCH = "backbone.transition1.0.0.weight"


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
    if "backbone.conv4.pointwise.weight" in tensors:
        return dataclasses.replace(architecture, backbone="xception")
    if _HRNET_BRANCH in tensors:
        return _with_hrnet(architecture, tensors)
    return with_resnet(architecture, tensors, "backbone")


def _with_hrnet(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    width = len(tensors[_HRNET_BRANCH])
    for name, known in HRNET_WIDTHS.items():
        if known == width:
            return dataclasses.replace(
                architecture,
                backbone=cast("BackboneKind", name),
                output_stride=HRNET_STRIDE,
                atrous_rates=RATES[8],
            )
    raise ConfigurationError(
        f"its encoder is an HRNet with {width} channels at the highest resolution, expected one of "
        f"{', '.join(map(str, HRNET_WIDTHS.values()))}; export the network as TorchScript or ONNX"
    )


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
    if architecture.backbone in XCEPTIONS:
        return xception(architecture.backbone)
    if architecture.backbone in HRNET_WIDTHS:
        return _hrnet()
    return resnet(architecture, "backbone")


def _hrnet() -> Layout:
    layout: Layout = {}
    for index in range(2):
        layout |= pair(f"backbone.stem.{index}", f"backbone.conv{index + 1}", f".bn{index + 1}")
    for block in range(HRNET_BLOCKS):
        layout |= _residual(f"backbone.first.{block}", f"backbone.layer1.{block}", 3)
    layout |= pair("backbone.split", "backbone.transition1.0.0", ".1")
    begins = ("transition1.1.0.0", "transition2.0", "transition3.0")
    for index, begin in enumerate(begins):
        layout |= pair(f"backbone.branch.{index}", f"backbone.{begin}", ".1")
    for index, modules in enumerate(HRNET_MODULES):
        for number in range(modules):
            ours, theirs = (
                f"backbone.stages.{index}.{number}",
                f"backbone.stage{index + 2}.{number}",
            )
            layout |= _hrnet_module(ours, theirs, branches=index + 2)
    return layout


def _hrnet_module(ours: str, theirs: str, branches: int) -> Layout:
    layout: Layout = {}
    for branch, block in itertools.product(range(branches), range(HRNET_BLOCKS)):
        place = f"branches.{branch}.{block}"
        layout |= _residual(f"{ours}.{place}", f"{theirs}.{place}", 2)
    for target, source in itertools.permutations(range(branches), 2):
        fuse, place = f"{ours}.fuse.{target}.{source}", f"{theirs}.fuse_layers.{target}.{source}"
        if source > target:
            layout |= pair(fuse, f"{place}.0", ".1")
        for step in range(target - source):
            layout |= pair(f"{fuse}.{step}", f"{place}.{step}.0", ".1")
    return layout


def _residual(ours: str, theirs: str, parts: int) -> Layout:
    layout = pair(f"{ours}.shortcut", f"{theirs}.downsample.0", ".1")
    for part in range(1, parts + 1):
        layout |= pair(f"{ours}.conv{part}", f"{theirs}.conv{part}", f".bn{part}")
    return layout


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
