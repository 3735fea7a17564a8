"""Facts about a network that several families store in the same way.

What a file cannot say (output stride, atrous rates, `align_corners`) has the default that the
family documents. A missing key is a `KeyError`, an encoder or width that is not known a
`ConfigurationError`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.network.mobile_shapes import (
    EFFICIENTNETS,
    MOBILENET_STAGES,
    efficientnet_shape,
    mobilenet_channels,
)
from deeplab_miou.model.network.resnet import RESNET_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture, BackboneKind

_SHOWN_KEYS = 10
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
LAST_FEATURE = sum(blocks for _, _, blocks, _ in MOBILENET_STAGES)


def enumerate_keys(keys: Sequence[str]) -> str:
    """Return the number of keys and the first ten."""
    more = ", ..." if len(keys) > _SHOWN_KEYS else ""
    return f"{len(keys)} keys ({', '.join(keys[:_SHOWN_KEYS])}{more})"


def with_resnet(
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    backbone: str,
    stem: str = "conv1",
    squeeze: str = "se",
) -> Architecture:
    """Add what a ResNet named as in torchvision decides.

    Args:
        architecture: what is known already.
        tensors: the weights.
        backbone: name of the encoder.
        stem: name of its first convolution.
        squeeze: name of the squeeze and excitation of a block.
    """
    deep = f"{backbone}.stem.0.weight" in tensors
    block = f"{backbone}.layer1.0"
    kind = resnet_kind(tensors, lambda n: f"{backbone}.layer{n + 1}")
    found = dataclasses.replace(
        architecture,
        backbone=kind,
        stem="deep" if deep else "plain",
        stem_width=rows(tensors, f"{backbone}.stem.6" if deep else f"{backbone}.{stem}"),
    )
    if RESNET_BLOCKS[kind][1]:
        width = rows(tensors, f"{block}.conv2")
        groups = width // columns(tensors, f"{block}.conv2")
        found = dataclasses.replace(found, bottleneck_width=width, groups=groups)
    if f"{block}.{squeeze}.fc1.weight" in tensors:
        gate = f"{block}.{squeeze}.fc1"
        found = dataclasses.replace(
            found, squeeze_reduction=columns(tensors, gate) // rows(tensors, gate)
        )
    return found


def resnet_kind(tensors: Mapping[str, Tensor], stage: Callable[[int], str]) -> BackboneKind:
    """Return which ResNet has as many blocks in each stage."""
    counts = []
    for index in range(4):
        prefix = f"{stage(index)}."
        blocks = {key[len(prefix) :].split(".")[0] for key in tensors if key.startswith(prefix)}
        counts.append(len(blocks))
    bottleneck = f"{stage(0)}.0.conv3.weight" in tensors
    for name, known in RESNET_BLOCKS.items():
        if known == (tuple(counts), bottleneck):
            return cast("BackboneKind", name)
    raise ConfigurationError(
        f"its encoder is not one of mobilenet_v2, {', '.join(RESNET_BLOCKS)}; "
        f"it has {enumerate_keys([key for key in tensors if key.endswith('.weight')])}"
    )


def mobilenet_width(last: int) -> float:
    """Return the width multiplier of a MobileNetV2 whose last stage has this many channels."""
    width = last / MOBILENET_STAGES[-1][1]
    if mobilenet_channels(width)[-1] != last:
        raise ConfigurationError(f"MobileNetV2's last stage has {last} channels: no known width")
    return width


def efficientnet_kind(blocks: int, last: int, *, lite: bool) -> BackboneKind:
    """Return which EfficientNet has this many blocks and channels in its last stage."""
    for name in EFFICIENTNETS:
        stages = efficientnet_shape(name).stages
        found = (sum(len(stage.blocks) for stage in stages), stages[-1].blocks[-1].out)
        if found == (blocks, last) and ("lite" in name) is lite:
            return cast("BackboneKind", name)
    raise ConfigurationError(
        f"its encoder is an EfficientNet of {blocks} blocks and {last} channels; known are "
        f"{', '.join(EFFICIENTNETS)}"
    )


def multi_grid(stride: int) -> tuple[int, ...]:
    """Return the dilations 1-2-4 times that of the last stage."""
    return tuple(unit * 32 // stride for unit in (1, 2, 4))


def rows(tensors: Mapping[str, Tensor], layer: str) -> int:
    """Return the output channels of a layer."""
    return int(tensors[f"{layer}.weight"].shape[0])


def columns(tensors: Mapping[str, Tensor], layer: str) -> int:
    """Return the input channels of a layer."""
    return int(tensors[f"{layer}.weight"].shape[1])
