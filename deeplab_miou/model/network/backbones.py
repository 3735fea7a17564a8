"""Encoders: an image in, low-level features at stride 4 and deep features at stride 8 or 16 out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.network.blocks import ConvBlock
from deeplab_miou.model.network.xception import Xception

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture

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
_MOBILENET_LOW_STAGES = 2

# He et al. 2016, table 1: blocks of the four stages, and whether they are bottlenecks.
RESNET_BLOCKS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
_RESNET_WIDTHS = (64, 128, 256, 512)


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


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand by 1x1, filter each channel by 3x3, project by 1x1.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: factor of the inner channels; 1 leaves the first convolution out.
        stride: step of the 3x3 convolution.
        dilation: distance of its taps.
        pad_before: pad the block's input instead of the expanded features.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        stride: int,
        dilation: int,
        pad_before: bool,
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.pad = dilation if pad_before else 0
        self.expand: nn.Module = (
            nn.Identity() if expansion == 1 else ConvBlock(in_channels, inner, activation="relu6")
        )
        self.filter = ConvBlock(
            inner,
            inner,
            3,
            stride=stride,
            dilation=dilation,
            groups=inner,
            padding=0 if pad_before else None,
            activation="relu6",
        )
        self.project = ConvBlock(inner, out_channels, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        padded = F.pad(x, (self.pad,) * 4) if self.pad else x
        y: Tensor = self.project(self.filter(self.expand(padded)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier, with dilation in place of the last strides."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = mobilenet_channels(architecture.width)
        self.stem = ConvBlock(
            3, channels[0], 3, stride=2, padding=architecture.stem_padding, activation="relu6"
        )
        self.stages = nn.ModuleList()
        current, dilation = 2, 1
        for index, (expansion, _, blocks, stride) in enumerate(MOBILENET_STAGES):
            before = dilation
            if current == architecture.output_stride:
                dilation *= stride
                stride = 1  # noqa: PLW2901 - the stride is given up here
            current *= stride
            dilations = stage_dilations(architecture, blocks, before, dilation)
            self.stages.append(
                nn.Sequential(
                    *(
                        InvertedResidual(
                            channels[index] if block == 0 else channels[index + 1],
                            channels[index + 1],
                            expansion=expansion,
                            stride=stride if block == 0 else 1,
                            dilation=dilations[block],
                            pad_before=architecture.pad_before_expansion,
                        )
                        for block in range(blocks)
                    )
                )
            )
        self.low_channels = channels[_MOBILENET_LOW_STAGES]
        self.high_channels = architecture.head_channels or channels[-1]
        self.head: nn.Module = (
            ConvBlock(channels[-1], architecture.head_channels, activation="relu6")
            if architecture.head_channels
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to features at stride 4 and at the output stride."""
        x = low = self.stem(x)
        for index, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if index == _MOBILENET_LOW_STAGES:
                low = x
        return low, self.head(x)


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 block; the stride sits in the 3x3 convolution."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = ConvBlock(in_channels, width)
        self.conv2 = ConvBlock(width, width, 3, stride=stride, dilation=dilation)
        self.conv3 = ConvBlock(width, out_channels, activation="none")
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, 4 * width, H', W')``."""
        y: Tensor = self.conv3(self.conv2(self.conv1(x)))
        return F.relu(y + self.shortcut(x))


class BasicBlock(nn.Module):
    """ResNet-18/34's block of two 3x3 convolutions."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, dilation: int, *, dilate_both: bool
    ) -> None:
        super().__init__()
        self.conv1 = ConvBlock(in_channels, width, 3, stride=stride, dilation=dilation)
        second = dilation if dilate_both else 1
        self.conv2 = ConvBlock(width, width, 3, dilation=second, activation="none")
        self.shortcut = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, width, H', W')``."""
        y: Tensor = self.conv2(self.conv1(x))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-18 to 152 with a plain or deep stem, dilated at the end."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        blocks, bottleneck = RESNET_BLOCKS[architecture.backbone]
        channels = architecture.stem_width
        if architecture.stem == "plain":
            stem: list[nn.Module] = [ConvBlock(3, channels, 7, stride=2)]
        else:
            half = channels // 2
            stem = [ConvBlock(3, half, 3, stride=2), ConvBlock(half, half, 3)]
            stem.append(ConvBlock(half, channels, 3))
        self.stem = nn.Sequential(*stem)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        current, dilation = 4, 1
        for index, (width, count) in enumerate(zip(_RESNET_WIDTHS, blocks, strict=True)):
            stride = 1 if index == 0 else 2
            before = dilation
            if current == architecture.output_stride:
                dilation *= stride
                stride = 1
            current *= stride
            dilations = stage_dilations(architecture, count, before, dilation)
            if index == len(blocks) - 1 and architecture.multi_grid:
                grid = architecture.multi_grid
                dilations = [grid[block % len(grid)] for block in range(count)]
            stage: list[nn.Module] = []
            for block in range(count):
                step = stride if block == 0 else 1
                if bottleneck:
                    stage.append(Bottleneck(channels, width, step, dilations[block]))
                else:
                    stage.append(
                        BasicBlock(
                            channels,
                            width,
                            step,
                            dilations[block],
                            dilate_both=architecture.dilate_both,
                        )
                    )
                channels = width * (Bottleneck if bottleneck else BasicBlock).expansion
            self.stages.append(nn.Sequential(*stage))
            if index == 0:
                self.low_channels = channels
        self.high_channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to features at stride 4 and at the output stride."""
        x = low = self.stages[0](self.pool(self.stem(x)))
        for stage in self.stages[1:]:
            x = stage(x)
        return low, x


def stage_dilations(architecture: Architecture, blocks: int, before: int, after: int) -> list[int]:
    """Return the dilation of each block of a stage.

    Args:
        architecture: whose `dilation_rule` decides.
        blocks: number of blocks.
        before: dilation that the stages before have brought about.
        after: the same once this stage's stride is given up.
    """
    if architecture.dilation_rule == "delayed":
        return [before] * blocks
    if architecture.dilation_rule == "contracted":
        return [before, *[after] * (blocks - 1)]
    if architecture.dilation_rule == "first":
        return [after, *[1] * (blocks - 1)]
    return [after] * blocks


def build_backbone(architecture: Architecture) -> MobileNetV2 | ResNet | Xception:
    """Return the encoder that an architecture asks for, with random weights."""
    if architecture.backbone == "mobilenet_v2":
        return MobileNetV2(architecture)
    if architecture.backbone == "xception65":
        return Xception(architecture)
    return ResNet(architecture)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvBlock(in_channels, out_channels, stride=stride, activation="none")
