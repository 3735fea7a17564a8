"""HRNetV2 (Wang et al. 2019): branches of four resolutions that are fused again and again."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.network.blocks import ConvBlock
from deeplab_miou.model.network.resnet import BasicBlock, Bottleneck

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture

HRNET_STRIDE = 4
# Channels of the branch of the highest resolution; each further one has twice as many.
HRNET_WIDTHS = {"hrnetv2_32": 32, "hrnetv2_48": 48}
# Modules of the stages with two, three and four branches, and the blocks of a branch.
HRNET_MODULES = (1, 4, 3)
HRNET_BLOCKS = 4
_STEM = 64


class HRModule(nn.Module):
    """Runs each branch, then gives each the sum of all at its resolution.

    Args:
        channels: of each branch, the highest resolution first.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c, c) for _ in range(HRNET_BLOCKS))) for c in channels
        )
        self.fuse = nn.ModuleList(
            nn.ModuleList(_exchange(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Map the branches' features to as many of the same shapes."""
        x = [branch(y) for branch, y in zip(self.branches, x, strict=True)]
        fused = []
        for target, row in enumerate(self.fuse):
            size = x[target].shape[-2:]
            parts: list[Tensor] = [
                F.interpolate(exchange(y), size=size, mode="nearest")
                for exchange, y in zip(cast("nn.ModuleList", row), x, strict=True)
            ]
            fused.append(F.relu(functools.reduce(torch.add, parts)))
        return fused


class HRNet(nn.Module):
    """HRNetV2 without its classifier; all its features are at stride 4."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = HRNET_WIDTHS[architecture.backbone]
        channels = tuple(width * 2**index for index in range(len(HRNET_MODULES) + 1))
        # Without a ReLU between the two: VainF runs the layers in the order of their registration,
        # where the one ReLU of the stem is the last.
        self.stem = nn.Sequential(
            ConvBlock(3, _STEM, 3, stride=2, activation="none"),
            ConvBlock(_STEM, _STEM, 3, stride=2),
        )
        self.low_channels = Bottleneck.expansion * _STEM
        in_channels = (_STEM, *[self.low_channels] * (HRNET_BLOCKS - 1))
        self.first = nn.Sequential(*(Bottleneck(c, _STEM, _STEM) for c in in_channels))
        self.split = ConvBlock(self.low_channels, channels[0], 3)
        # Each halves the resolution of the last branch to begin the next.
        sources = (self.low_channels, *channels[1:])
        self.branch = nn.ModuleList(
            ConvBlock(c, d, 3, stride=2) for c, d in zip(sources, channels[1:], strict=False)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(HRModule(channels[:branches]) for _ in range(modules)))
            for branches, modules in enumerate(HRNET_MODULES, start=2)
        )
        self.high_channels = sum(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to two features at stride 4."""
        low = self.first(self.stem(x))
        branches = [self.split(low)]
        last = low
        for begin, stage in zip(self.branch, self.stages, strict=True):
            branches = stage([*branches, begin(last)])
            last = branches[-1]
        size = branches[0].shape[-2:]
        deep = [F.interpolate(y, size=size, mode="bilinear") for y in branches[1:]]
        return low, torch.cat((branches[0], *deep), dim=1)


def _exchange(channels: tuple[int, ...], source: int, target: int) -> nn.Module:
    """Return what makes a branch's features those of another, but for an upsampling."""
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvBlock(channels[source], channels[target], activation="none")
    widths = (*[channels[source]] * (target - source), channels[target])
    steps = [ConvBlock(c, d, 3, stride=2) for c, d in itertools.pairwise(widths)]
    steps[-1].activation = nn.Identity()
    return nn.Sequential(*steps)
