"""Checkpoints of torchvision's DeepLabv3; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.family.base import Family
from deeplab_miou.model.checkpoints.family.naming import (
    excitation,
    mobile_blocks,
    pair,
    resnet,
    sequential_head,
)
from deeplab_miou.model.checkpoints.family.reading import RATES, columns, rows, with_resnet
from deeplab_miou.model.network.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout

_MOBILE_HEAD = "backbone.16.0.weight"
_MOBILE_STRIDE = 16


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
    if _MOBILE_HEAD in tensors:
        return dataclasses.replace(
            architecture,
            backbone="mobilenet_v3_large",
            output_stride=_MOBILE_STRIDE,
            dilation_rule="stage",
            head_channels=len(tensors[_MOBILE_HEAD]),
            encoder_epsilon=1e-3,
        )
    return with_resnet(architecture, tensors, "backbone")


def layout(architecture: Architecture) -> Layout:
    """Return the layout of torchvision."""
    mobile = architecture.backbone == "mobilenet_v3_large"
    encoder = _mobilenet(architecture) if mobile else resnet(architecture, "backbone")
    return encoder | sequential_head(architecture, "classifier")


def _mobilenet(architecture: Architecture) -> Layout:
    layout = pair("backbone.stem", "backbone.0.0", ".1")
    layout |= pair("backbone.head", _MOBILE_HEAD.removesuffix(".weight"), ".1")
    for index, block in enumerate(mobile_blocks(architecture), start=1):
        ours, parts = block.name, (f"backbone.{index}.block.{n}" for n in range(4))
        if block.expands:
            layout |= pair(f"{ours}.expand", f"{next(parts)}.0", ".1")
        layout |= pair(f"{ours}.filter", f"{next(parts)}.0", ".1")
        if block.squeezes:
            gate = next(parts)
            layout |= excitation(ours, f"{gate}.fc1", f"{gate}.fc2")
        layout |= pair(f"{ours}.project", f"{next(parts)}.0", ".1")
    return layout


FAMILY = Family(
    name="torchvision DeepLabv3",
    signature="classifier.0.convs.",
    output_stride=8,
    describe=describe,
    layout=layout,
    ignored=("aux_classifier.",),
)
