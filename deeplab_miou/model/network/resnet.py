"""ResNet, with the grouped convolutions of ResNeXt and the gates of SE-ResNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.network.blocks import ConvBlock, SqueezeExcitation
from deeplab_miou.model.network.stages import plan_stages

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture

# He et al. 2016, table 1: blocks of the four stages, and whether they are bottlenecks.
RESNET_BLOCKS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
_RESNET_WIDTHS = (64, 128, 256, 512)


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 block.

    Args:
        in_channels: channels of the input.
        inner: channels of the 3x3 convolution.
        width: a quarter of the channels of the output.
        stride: step of the 3x3 convolution.
        dilation: distance of its taps.
        groups: its groups.
        reduction: factor by which the squeeze has fewer channels than the output; 0 for none.
        stride_first: the first convolution has the stride instead.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        inner: int,
        width: int,
        stride: int = 1,
        dilation: int = 1,
        *,
        groups: int = 1,
        reduction: int = 0,
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        out_channels = width * self.expansion
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = ConvBlock(in_channels, inner, stride=first)
        self.conv2 = ConvBlock(inner, inner, 3, stride=second, dilation=dilation, groups=groups)
        self.conv3 = ConvBlock(inner, out_channels, activation="none")
        self.squeeze = _squeeze(out_channels, reduction)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, 4 * width, H', W')``."""
        y: Tensor = self.squeeze(self.conv3(self.conv2(self.conv1(x))))
        return F.relu(y + self.shortcut(x))


class BasicBlock(nn.Module):
    """ResNet-18/34's block of two 3x3 convolutions.

    Args:
        in_channels: channels of the input.
        width: channels of the output.
        stride: step of the first convolution.
        dilations: distance of the taps of both.
        reduction: factor by which the squeeze has fewer channels than the output; 0 for none.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        dilations: tuple[int, int] = (1, 1),
        *,
        reduction: int = 0,
    ) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = ConvBlock(in_channels, width, 3, stride=stride, dilation=first)
        self.conv2 = ConvBlock(width, width, 3, dilation=second, activation="none")
        self.squeeze = _squeeze(width, reduction)
        self.shortcut = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, width, H', W')``."""
        y: Tensor = self.squeeze(self.conv2(self.conv1(x)))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18 to 152 with a plain or deep stem, dilated at the end."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        counts, bottleneck = RESNET_BLOCKS[architecture.backbone]
        channels = architecture.stem_width
        if architecture.stem == "plain":
            stem: list[nn.Module] = [ConvBlock(3, channels, 7, stride=2)]
        else:
            half = channels // 2
            stem = [ConvBlock(3, half, 3, stride=2), ConvBlock(half, half, 3)]
            stem.append(ConvBlock(half, channels, 3))
        self.stem = nn.Sequential(*stem)
        ceil = architecture.stem_pool == "ceil"
        self.pool = nn.MaxPool2d(3, 2, padding=0 if ceil else 1, ceil_mode=ceil)
        self.stages = nn.ModuleList()
        plans = plan_stages(architecture, zip(counts, (1, 2, 2, 2), strict=True), current=4)
        for index, plan in enumerate(plans):
            dilations = plan.dilations
            if index == len(plans) - 1 and architecture.multi_grid:
                grid = architecture.multi_grid
                dilations = [grid[block % len(grid)] for block in range(counts[index])]
            stage = nn.Sequential()
            for block, dilation in enumerate(dilations):
                stride = plan.stride if block == 0 else 1
                if bottleneck:
                    stage.append(_bottleneck(architecture, channels, index, stride, dilation))
                    channels = Bottleneck.expansion * _RESNET_WIDTHS[index]
                else:
                    contracted = architecture.dilation_rule == "contracted"
                    second = plan.dilation if contracted else dilation
                    stage.append(
                        BasicBlock(
                            channels,
                            _RESNET_WIDTHS[index],
                            stride,
                            (dilation, second if architecture.dilate_both else 1),
                            reduction=architecture.squeeze_reduction,
                        )
                    )
                    channels = BasicBlock.expansion * _RESNET_WIDTHS[index]
            self.stages.append(stage)
            if index == 0:
                self.low_channels = channels
        self.high_channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to features at stride 4 and at the output stride."""
        x = low = self.stages[0](self.pool(self.stem(x)))
        for stage in self.stages[1:]:
            x = stage(x)
        return low, x


def _bottleneck(
    architecture: Architecture, channels: int, index: int, stride: int, dilation: int
) -> Bottleneck:
    return Bottleneck(
        channels,
        architecture.bottleneck_width * 2**index,
        _RESNET_WIDTHS[index],
        stride,
        dilation,
        groups=architecture.groups,
        reduction=architecture.squeeze_reduction,
        stride_first=architecture.stride_first,
    )


def _squeeze(channels: int, reduction: int) -> nn.Module:
    if not reduction:
        return nn.Identity()
    return SqueezeExcitation(channels, channels // reduction, activation="relu", gate="sigmoid")


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvBlock(in_channels, out_channels, stride=stride, activation="none")
