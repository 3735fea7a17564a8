"""DeepLabv3+ (Chen et al. 2018) from small blocks, parametric in all that its forks disagree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.network.backbones import build_backbone
from deeplab_miou.model.network.blocks import ConvBlock, make_convolution

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture

LOGIT_STRIDE = 4


class PoolingBranch(nn.Module):
    """ASPP's image-level features: the mean over the map, or over a window that slides on it.

    A window larger than the map is cut to it, which makes the pooling global.
    """

    def __init__(self, in_channels: int, architecture: Architecture) -> None:
        super().__init__()
        self.window = architecture.pool_window
        self.mix = ConvBlock(
            in_channels,
            architecture.aspp_width,
            norm=architecture.pool_norm,
            bias=not architecture.pool_norm,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, h, w)`` to ``(N, width, h, w)``."""
        height, width = x.shape[-2:]
        if self.window is None:
            pooled = x.mean((2, 3), keepdim=True)
        else:
            window = (min(self.window[0], height), min(self.window[1], width))
            pooled = F.avg_pool2d(x, window, stride=1)
        y: Tensor = self.mix(pooled)
        if y.shape[-2:] == (1, 1):
            return y.expand(-1, -1, height, width)
        return F.interpolate(y, size=(height, width), mode="bilinear", align_corners=False)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: five views of the deep features, mixed into one."""

    def __init__(self, in_channels: int, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.aspp_width
        self.pool_first = architecture.aspp_pool_first
        self.branches = nn.ModuleList([ConvBlock(in_channels, width)])
        for rate in architecture.atrous_rates:
            self.branches.append(
                make_convolution(architecture.aspp_convolution, in_channels, width, 3, rate)
            )
        self.pooling = PoolingBranch(in_channels, architecture)
        views = len(self.branches) + 1
        self.project = ConvBlock(views * width, width, architecture.aspp_project_kernel)
        self.refine: nn.Module = (
            make_convolution("separable", width, width, 3)
            if architecture.aspp_refine
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, h, w)`` to ``(N, aspp_width, h, w)``."""
        views = [branch(x) for branch in self.branches]
        pooled = self.pooling(x)
        if x.is_contiguous(memory_format=torch.channels_last):
            # One constant map would make the concatenation lose the layout of all.
            pooled = pooled.contiguous(memory_format=torch.channels_last)
        views = [pooled, *views] if self.pool_first else [*views, pooled]
        y: Tensor = self.refine(self.project(torch.cat(views, dim=1)))
        return y


class Decoder(nn.Module):
    """Sharpens the deep features with the low-level ones and classifies at stride 4.

    DeepLabv3 has no low-level features (`low_width` 0) and classifies at the output stride.
    """

    def __init__(self, low_channels: int, architecture: Architecture) -> None:
        super().__init__()
        self.low_first = architecture.concatenation == "low_first"
        self.align_corners = architecture.align_corners
        self.low: nn.Module | None = (
            ConvBlock(low_channels, architecture.low_width) if architecture.low_width else None
        )
        width = architecture.decoder_width
        self.convolutions = nn.Sequential()
        channels = architecture.low_width + architecture.aspp_width
        for _ in range(architecture.decoder_layers):
            self.convolutions.append(
                make_convolution(
                    architecture.decoder_convolution, channels, width, architecture.decoder_kernel
                )
            )
            channels = width
        self.classify = nn.Conv2d(channels, architecture.num_classes, 1)

    def forward(self, low: Tensor, deep: Tensor) -> Tensor:
        """Map features ``(N, c, h, w)`` and ``(N, aspp_width, h', w')`` to ``(N, n, h, w)``.

        Without low-level features the logits have the size of the deep ones.
        """
        if self.low is not None:
            low = self.low(low)
            deep = F.interpolate(
                deep, size=low.shape[-2:], mode="bilinear", align_corners=self.align_corners
            )
            deep = torch.cat((low, deep) if self.low_first else (deep, low), dim=1)
        y: Tensor = self.classify(self.convolutions(deep))
        return y


class DeepLabV3Plus(nn.Module):
    """The network: normalised RGB float32 ``(N, 3, H, W)`` to logits ``(N, n, H, W)``, any size.

    Attributes:
        architecture: what it was built from.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture)
        self.aspp = ASPP(self.backbone.high_channels, architecture)
        self.decoder = Decoder(self.backbone.low_channels, architecture)
        encoder = set(self.backbone.modules())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                inside = module in encoder
                module.eps = architecture.encoder_epsilon if inside else architecture.head_epsilon
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Return the logits before the final upsampling, at stride 4 (DeepLabv3: 8 or 16)."""
        low, deep = self.backbone(images)
        y: Tensor = self.decoder(low, self.aspp(deep))
        return y

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits at the images' size."""
        height, width = images.shape[-2:]
        return resize_logits(
            self.coarse_logits(images), (height, width), (height, width), self.architecture
        )


def resize_logits(
    logits: Tensor, image_size: tuple[int, int], size: tuple[int, int], architecture: Architecture
) -> Tensor:
    """Resample coarse logits bilinearly, as when the network was trained.

    Args:
        logits: ``(N, n, h, w)`` from `DeepLabV3Plus.coarse_logits`.
        image_size: (H, W) of the images that went in.
        size: (height, width) wanted.
        architecture: the network's (`align_corners`, `resize`).

    Returns:
        ``(N, n, *size)``.
    """
    if architecture.resize == "crop":
        stretched_size = (LOGIT_STRIDE * logits.shape[-2], LOGIT_STRIDE * logits.shape[-1])
        logits = F.interpolate(
            logits, size=stretched_size, mode="bilinear", align_corners=architecture.align_corners
        )[:, :, : image_size[0], : image_size[1]]
        if size == image_size:
            return logits
    return F.interpolate(
        logits, size=size, mode="bilinear", align_corners=architecture.align_corners
    )


def build(architecture: Architecture) -> DeepLabV3Plus:
    """Return the network that a record describes, with random weights, in evaluation mode."""
    return DeepLabV3Plus(architecture).eval()


def skeleton(architecture: Architecture) -> DeepLabV3Plus:
    """Return a network without memory for its weights, to be given to `fill`."""
    with torch.device("meta"):
        return build(architecture)


def fill(network: DeepLabV3Plus, weights: Mapping[str, Tensor]) -> None:
    """Give a network all its weights, as float32; they are not copied where they are float32."""
    network.load_state_dict(
        {key: value.float() for key, value in weights.items()}, strict=False, assign=True
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Of no use in evaluation and left out of our files, but moved along with the rest.
            module.num_batches_tracked = torch.zeros((), dtype=torch.long)
