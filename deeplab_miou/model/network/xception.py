"""Xception-65 as DeepLab uses it ("modified aligned Xception", Chen et al. 2018, figure 4)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.network.blocks import ConvBlock

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture

_STEM = (32, 64)
_EXIT_WIDTHS = (1536, 1536, 2048)
_MIDDLE_BLOCKS = 16
_SMALL_STRIDE = 8


@dataclass(frozen=True)
class XceptionStage:
    """One residual block.

    Attributes:
        channels: input channels, then the output channels of each separable convolution.
        stride: step of the last of them.
        dilations: distance of the taps of each.
        activate_input: whether the block, its shortcut included, begins with a ReLU.
    """

    channels: tuple[int, ...]
    stride: int = 1
    dilations: tuple[int, ...] = (1, 1, 1)
    activate_input: bool = True


def xception_stages(output_stride: int) -> tuple[XceptionStage, ...]:
    """Return the 20 blocks at an output stride of 8 or 16."""
    small = output_stride == _SMALL_STRIDE
    middle, last = (2, 2) if small else (1, 1)
    return (
        XceptionStage((64, 128, 128, 128), 2, activate_input=False),
        XceptionStage((128, 256, 256, 256), 2, activate_input=False),
        XceptionStage((256, 728, 728, 728), 1 if small else 2),
        *[XceptionStage((728,) * 4, dilations=(middle,) * 3)] * _MIDDLE_BLOCKS,
        XceptionStage((728, 728, 1024, 1024), dilations=(last, last, 1)),
    )


class XceptionSeparable(nn.Module):
    """A depthwise 3x3 and a 1x1 convolution, each with its norm and neither with an activation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = ConvBlock(
            in_channels,
            in_channels,
            3,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            activation="none",
        )
        self.pointwise = ConvBlock(in_channels, out_channels, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class XceptionBlock(nn.Module):
    """Separable convolutions with a ReLU between them, and a parallel shortcut."""

    def __init__(self, stage: XceptionStage) -> None:
        super().__init__()
        self.activate_input = stage.activate_input
        pairs = list(zip(stage.channels, stage.channels[1:], stage.dilations, strict=False))
        self.convolutions = nn.ModuleList(
            XceptionSeparable(c, d, stage.stride if i == len(pairs) - 1 else 1, dilation)
            for i, (c, d, dilation) in enumerate(pairs)
        )
        first, last = stage.channels[0], stage.channels[-1]
        self.shortcut: nn.Module = (
            nn.Identity()
            if first == last and stage.stride == 1
            else ConvBlock(first, last, stride=stage.stride, activation="none")
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        if self.activate_input:
            x = F.relu(x)
        y = x
        for index, convolution in enumerate(self.convolutions):
            y = convolution(F.relu(y) if index else y)
        shortcut: Tensor = self.shortcut(x)
        return y + shortcut


class Xception(nn.Module):
    """Xception-65 without its classifier."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        stages = xception_stages(architecture.output_stride)
        self.stem = nn.Sequential(
            ConvBlock(3, _STEM[0], 3, stride=2), ConvBlock(_STEM[0], _STEM[1], 3)
        )
        self.stages = nn.ModuleList(XceptionBlock(stage) for stage in stages)
        dilation = 2 * stages[-1].dilations[0]
        channels = (stages[-1].channels[-1], *_EXIT_WIDTHS)
        self.exit = nn.ModuleList(
            XceptionSeparable(c, d, 1, dilation) for c, d in itertools.pairwise(channels)
        )
        self.low_channels = stages[0].channels[-1]
        self.high_channels = channels[-1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to features at stride 4 and at the output stride."""
        x = low = F.relu(self.stages[0](self.stem(x)))
        for stage in self.stages[1:]:
            x = stage(x)
        for convolution in self.exit:
            x = convolution(F.relu(x))
        return low, F.relu(x)
