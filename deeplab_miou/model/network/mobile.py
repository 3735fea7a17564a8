"""Encoders of inverted residuals: MobileNetV2, MobileNetV3 and EfficientNet."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from torch import nn

from deeplab_miou.model.network.blocks import ConvBlock, SamePadding, SqueezeExcitation
from deeplab_miou.model.network.mobile_shapes import mobile_shape
from deeplab_miou.model.network.stages import plan_stages

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture
    from deeplab_miou.model.network.blocks import Activation
    from deeplab_miou.model.network.mobile_shapes import BlockShape

_LOW_STAGES = 2


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel, weigh the channels where that is asked, project by 1x1.

    Args:
        in_channels: channels of the input.
        shape: the block's own channels, kernel and activation; no expansion where its inner
            channels are those of the input.
        stride: step of the depthwise convolution.
        dilation: distance of its taps.
        squeeze: activation and gate of the squeeze and excitation.
        architecture: how it pads.
        size: side of the map that "same" padding is counted for; None for the map that comes.
    """

    def __init__(
        self,
        in_channels: int,
        shape: BlockShape,
        *,
        stride: int,
        dilation: int,
        squeeze: tuple[Activation, Activation],
        architecture: Architecture,
        size: int | None,
    ) -> None:
        super().__init__()
        inner = shape.inner
        self.residual = stride == 1 and in_channels == shape.out
        same = architecture.padding == "same" and stride > 1
        self.pad_input: nn.Module = (
            nn.ZeroPad2d(dilation) if architecture.pad_before_expansion else nn.Identity()
        )
        self.expand: nn.Module = (
            nn.Identity()
            if inner == in_channels
            else ConvBlock(in_channels, inner, activation=shape.activation)
        )
        self.pad_inner: nn.Module = (
            SamePadding(shape.kernel, stride, size) if same else nn.Identity()
        )
        self.filter = ConvBlock(
            inner,
            inner,
            shape.kernel,
            stride=stride,
            dilation=dilation,
            groups=inner,
            padding=0 if same or architecture.pad_before_expansion else None,
            activation=shape.activation,
        )
        self.squeeze: nn.Module = (
            SqueezeExcitation(inner, shape.squeezed, activation=squeeze[0], gate=squeeze[1])
            if shape.squeezed
            else nn.Identity()
        )
        self.project = ConvBlock(inner, shape.out, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        inner = self.filter(self.pad_inner(self.expand(self.pad_input(x))))
        y: Tensor = self.project(self.squeeze(inner))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """A network of inverted residuals without its classifier, dilated at the end."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        shape = mobile_shape(architecture)
        same = architecture.padding == "same"
        size = architecture.padding_size or None
        self.pad: nn.Module = SamePadding(3, 2, size) if same else nn.Identity()
        self.stem = ConvBlock(
            3,
            shape.stem,
            3,
            stride=2,
            padding=0 if same else architecture.stem_padding,
            activation=shape.activation,
        )
        self.stages = nn.ModuleList()
        size = _halved(size)
        channels = shape.stem
        outputs = []
        plans = plan_stages(
            architecture, ((len(s.blocks), s.stride) for s in shape.stages), current=2
        )
        for stage, plan in zip(shape.stages, plans, strict=True):
            blocks = nn.Sequential()
            strides = itertools.chain((plan.stride,), itertools.repeat(1))
            for block, stride, dilation in zip(stage.blocks, strides, plan.dilations, strict=False):
                blocks.append(
                    InvertedResidual(
                        channels,
                        block,
                        stride=stride,
                        dilation=dilation,
                        squeeze=shape.squeeze,
                        architecture=architecture,
                        size=size,
                    )
                )
                channels = block.out
                size = _halved(size) if stride > 1 else size
            self.stages.append(blocks)
            outputs.append(channels)
        self.low_channels = outputs[_LOW_STAGES - 1]
        self.high_channels = architecture.head_channels or channels
        self.head: nn.Module = (
            ConvBlock(channels, architecture.head_channels, activation=shape.activation)
            if architecture.head_channels
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to features at stride 4 and at the output stride."""
        x = low = self.stem(self.pad(x))
        for index, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if index == _LOW_STAGES:
                low = x
        return low, self.head(x)


def _halved(size: int | None) -> int | None:
    return None if size is None else (size + 1) // 2
