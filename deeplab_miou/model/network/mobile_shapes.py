"""Channels, kernels and strides of MobileNetV2, MobileNetV3 and EfficientNet, as published."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from deeplab_miou.model.network.architecture import Architecture
    from deeplab_miou.model.network.blocks import Activation

# Sandler et al. 2018, table 2: expansion, channels, blocks, stride of the first block.
MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_MOBILENET_STEM = 32

# Howard et al. 2019, table 1, in stages of one width: stride of the first block, activation, then
# for each block its inner channels, its output, the kernel, and whether it squeezes.
_V3_BLOCK_40 = (120, 40, 5, True)
_V3_BLOCK_80 = (184, 80, 3, False)
_V3_BLOCK_160 = (960, 160, 5, True)
_MOBILENET_V3_STAGES: tuple[tuple[int, Activation, tuple[tuple[int, int, int, bool], ...]], ...] = (
    (1, "relu", ((16, 16, 3, False),)),
    (2, "relu", ((64, 24, 3, False), (72, 24, 3, False))),
    (2, "relu", ((72, 40, 5, True), _V3_BLOCK_40, _V3_BLOCK_40)),
    (2, "hardswish", ((240, 80, 3, False), (200, 80, 3, False), _V3_BLOCK_80, _V3_BLOCK_80)),
    (1, "hardswish", ((480, 112, 3, True), (672, 112, 3, True))),
    (2, "hardswish", ((672, 160, 5, True), _V3_BLOCK_160, _V3_BLOCK_160)),
)
_MOBILENET_V3_STEM = 16

# Tan and Le 2019, table 1: expansion, channels, blocks, stride, kernel.
_EFFICIENTNET_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_EFFICIENTNET_STEM = 32
# Factors of the channels and of the blocks.
EFFICIENTNETS = {
    "efficientnet_b0": (1.0, 1.0),
    "efficientnet_b1": (1.0, 1.1),
    "efficientnet_b2": (1.1, 1.2),
    "efficientnet_b3": (1.2, 1.4),
    "efficientnet_b4": (1.4, 1.8),
    "efficientnet_b5": (1.6, 2.2),
    "efficientnet_b6": (1.8, 2.6),
    "efficientnet_b7": (2.0, 3.1),
    "efficientnet_b8": (2.2, 3.6),
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
    "efficientnet_lite3": (1.2, 1.4),
    "efficientnet_lite4": (1.4, 1.8),
}


class BlockShape(NamedTuple):
    """An inverted residual.

    Attributes:
        inner: channels of the depthwise convolution.
        out: channels of the output.
        kernel: side of the depthwise kernel.
        activation: what follows its norm, and that of the expansion.
        squeezed: channels of the squeeze and excitation; 0 for none.
    """

    inner: int
    out: int
    kernel: int
    activation: Activation
    squeezed: int = 0


class StageShape(NamedTuple):
    """A stage: its own stride and its blocks."""

    stride: int
    blocks: tuple[BlockShape, ...]


class MobileShape(NamedTuple):
    """A network of inverted residuals.

    Attributes:
        stem: channels of the first convolution.
        activation: what follows the first and the last convolution.
        stages: the stages between.
        squeeze: activation and gate of the squeeze and excitation.
    """

    stem: int
    activation: Activation
    stages: tuple[StageShape, ...]
    squeeze: tuple[Activation, Activation] = ("relu", "sigmoid")


def round_channels(channels: float) -> int:
    """Return the multiple of 8 nearest to `channels`, at least 8 and at least 90 % of it.

    The rounding of the MobileNetV2 authors (tensorflow/models, slim/nets/mobilenet).
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_channels(width: float) -> tuple[int, ...]:
    """Return the channels of MobileNetV2's stem and seven stages at a width multiplier."""
    stages = (channels for _, channels, _, _ in MOBILENET_STAGES)
    return tuple(round_channels(width * c) for c in (_MOBILENET_STEM, *stages))


def mobile_shape(architecture: Architecture) -> MobileShape:
    """Return the shape of the network of inverted residuals that an architecture asks for."""
    if architecture.backbone in EFFICIENTNETS:
        return efficientnet_shape(architecture.backbone)
    if architecture.backbone == "mobilenet_v3_large":
        return _mobilenet_v3_shape()
    return _mobilenet_v2_shape(architecture.width)


def _mobilenet_v2_shape(width: float) -> MobileShape:
    stem, *channels = mobilenet_channels(width)
    before, stages = stem, []
    for (expansion, _, count, stride), out in zip(MOBILENET_STAGES, channels, strict=True):
        in_channels = (before, *[out] * (count - 1))
        blocks = tuple(BlockShape(expansion * c, out, 3, "relu6") for c in in_channels)
        stages.append(StageShape(stride, blocks))
        before = out
    return MobileShape(stem, "relu6", tuple(stages))


def _mobilenet_v3_shape() -> MobileShape:
    stages = tuple(
        StageShape(
            stride,
            tuple(
                BlockShape(
                    inner, out, kernel, activation, round_channels(inner // 4) if squeezes else 0
                )
                for inner, out, kernel, squeezes in blocks
            ),
        )
        for stride, activation, blocks in _MOBILENET_V3_STAGES
    )
    return MobileShape(_MOBILENET_V3_STEM, "hardswish", stages, ("relu", "hardsigmoid"))


def efficientnet_shape(name: str) -> MobileShape:
    """Return the shape of an EfficientNet; the "lite" ones do not squeeze and use ReLU6.

    Args:
        name: one of `EFFICIENTNETS`.
    """
    width, depth = EFFICIENTNETS[name]
    lite = "lite" in name
    activation: Activation = "relu6" if lite else "silu"
    before = stem = _EFFICIENTNET_STEM if lite else round_channels(width * _EFFICIENTNET_STEM)
    stages = []
    for index, (expansion, channels, count, stride, kernel) in enumerate(_EFFICIENTNET_STAGES):
        out = round_channels(width * channels)
        ends = index in {0, len(_EFFICIENTNET_STAGES) - 1}
        repeats = count if lite and ends else math.ceil(depth * count)
        in_channels = (before, *[out] * (repeats - 1))
        blocks = tuple(
            BlockShape(expansion * c, out, kernel, activation, 0 if lite else c // 4)
            for c in in_channels
        )
        stages.append(StageShape(stride, blocks))
        before = out
    return MobileShape(stem, activation, tuple(stages), ("silu", "sigmoid"))
