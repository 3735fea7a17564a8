"""The encoders of qubvel-org/segmentation_models.pytorch; facts and names are from its code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.family.naming import (
    excitation,
    mobile_blocks,
    mobilenet,
    nested_block,
    pair,
    resnet,
)
from deeplab_miou.model.checkpoints.family.reading import (
    LAST_FEATURE,
    efficientnet_kind,
    mobilenet_width,
    rows,
    with_resnet,
)
from deeplab_miou.model.network.mobile_shapes import EFFICIENTNETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout
    from deeplab_miou.model.network.architecture import Architecture

# The last layers of encoders, which no features come from.
UNUSED = (
    "encoder._conv_head.",
    "encoder._bn1.",
    "encoder.conv_head.",
    "encoder.bn2.",
)
# Sides of the images that its EfficientNets were trained on, and that they pad for.
_SIDES = {
    "efficientnet_b0": 224,
    "efficientnet_b1": 240,
    "efficientnet_b2": 260,
    "efficientnet_b3": 300,
    "efficientnet_b4": 380,
    "efficientnet_b5": 456,
    "efficientnet_b6": 528,
    "efficientnet_b7": 600,
}
_SQUEEZE = "se_module"
_TIMM = "encoder.model"
TIMM_STEM = f"{_TIMM}.conv1.weight"


def with_encoder(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    """Add what an encoder of segmentation_models_pytorch decides.

    Raises:
        ConfigurationError: it is none of the known ones.
    """
    if "encoder.features.0.0.weight" in tensors:
        last = rows(tensors, f"encoder.features.{LAST_FEATURE}.conv.2")
        return dataclasses.replace(
            architecture,
            width=mobilenet_width(last),
            head_channels=rows(tensors, f"encoder.features.{LAST_FEATURE + 1}.0"),
        )
    if "encoder._conv_stem.weight" in tensors:
        return _with_efficientnet(architecture, tensors)
    if "encoder.conv_stem.weight" in tensors:
        return _with_timm_efficientnet(architecture, tensors)
    if "encoder.layer0.conv1.weight" in tensors:
        return _with_senet(architecture, tensors)
    if TIMM_STEM in tensors:
        architecture = dataclasses.replace(architecture, dilation_rule="contracted")
        return with_resnet(architecture, tensors, _TIMM)
    return with_resnet(architecture, tensors, "encoder")


def _with_efficientnet(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    blocks = _count(tensors, "encoder._blocks.")
    last = rows(tensors, f"encoder._blocks.{blocks - 1}._project_conv")
    kind = efficientnet_kind(blocks, last, lite=False)
    return dataclasses.replace(
        architecture,
        backbone=kind,
        padding="same",
        padding_size=_SIDES[kind],
        encoder_epsilon=1e-3,
        # Of b0 it cuts the blocks of stride 16 behind the first of the fifth stage.
        dilation_rule="ahead" if kind == "efficientnet_b0" else "stage",
    )


def _with_timm_efficientnet(
    architecture: Architecture, tensors: Mapping[str, Tensor]
) -> Architecture:
    stages = _count(tensors, "encoder.blocks.")
    blocks = sum(_count(tensors, f"encoder.blocks.{stage}.") for stage in range(stages))
    last = rows(tensors, f"encoder.blocks.{stages - 1}.0.conv_pwl")
    lite = "encoder.blocks.0.0.se.conv_reduce.weight" not in tensors
    return dataclasses.replace(architecture, backbone=efficientnet_kind(blocks, last, lite=lite))


def _with_senet(architecture: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    if "encoder.layer0.conv2.weight" in tensors:
        raise ConfigurationError(
            "its encoder is SENet-154, which is not supported; export the network as TorchScript "
            "or ONNX"
        )
    found = with_resnet(architecture, tensors, "encoder", "layer0.conv1", _SQUEEZE)
    return dataclasses.replace(found, stem_pool="ceil", stride_first=found.groups == 1)


def encoder_layout(architecture: Architecture) -> Layout:
    """Return the layout of an encoder of segmentation_models_pytorch."""
    if architecture.backbone == "mobilenet_v2":
        found = mobilenet(architecture, nested_block, lambda index: f"encoder.features.{index}")
        found |= pair("backbone.stem", "encoder.features.0.0", ".1")
        return found | pair("backbone.head", "encoder.features.18.0", ".1")
    if architecture.backbone in EFFICIENTNETS:
        return (
            _efficientnet(architecture)
            if architecture.padding == "same"
            else _timm_efficientnet(architecture)
        )
    if architecture.stem_pool == "ceil":
        return resnet(architecture, "encoder", "layer0", _SQUEEZE)
    return resnet(architecture, _TIMM if architecture.dilation_rule == "contracted" else "encoder")


def _efficientnet(architecture: Architecture) -> Layout:
    layout = pair("backbone.stem", "encoder._conv_stem", "._bn0")
    for index, block in enumerate(mobile_blocks(architecture)):
        ours, theirs = block.name, f"encoder._blocks.{index}"
        layout |= pair(f"{ours}.expand", f"{theirs}._expand_conv", "._bn0")
        layout |= pair(f"{ours}.filter", f"{theirs}._depthwise_conv", "._bn1")
        layout |= excitation(ours, f"{theirs}._se_reduce", f"{theirs}._se_expand")
        layout |= pair(f"{ours}.project", f"{theirs}._project_conv", "._bn2")
    return layout


def _timm_efficientnet(architecture: Architecture) -> Layout:
    layout = pair("backbone.stem", "encoder.conv_stem", ".bn1")
    for block in mobile_blocks(architecture):
        ours, theirs = block.name, f"encoder.blocks.{block.stage}.{block.number}"
        norms = iter((".bn1", ".bn2", ".bn3"))
        if block.expands:
            layout |= pair(f"{ours}.expand", f"{theirs}.conv_pw", next(norms))
        layout |= pair(f"{ours}.filter", f"{theirs}.conv_dw", next(norms))
        layout |= excitation(ours, f"{theirs}.se.conv_reduce", f"{theirs}.se.conv_expand")
        project = "conv_pwl" if block.expands else "conv_pw"
        layout |= pair(f"{ours}.project", f"{theirs}.{project}", next(norms))
    return layout


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """Return how many numbered parts there are of a name."""
    return len({key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix)})
