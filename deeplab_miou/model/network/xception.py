"""Xception (Chollet 2017), and the deeper "modified aligned" one of DeepLab (Chen et al. 2018)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.network.blocks import ConvBlock

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from deeplab_miou.model.network.architecture import Architecture

_STEM = (32, 64)
_MIDDLE_BLOCKS = 8
_MIDDLE_BLOCKS_65 = 16
_EXIT_WIDTHS = (1536, 1536, 2048)
_SMALL_STRIDE = 8


@dataclass(frozen=True)
class XceptionSeparable:
    """A depthwise 3x3 and a 1x1 convolution.

    Attributes:
        channels: of the output.
        stride: step of the depthwise convolution.
        dilation: distance of its taps.
        padding: zeros around its input; None for as many as keep the size.
        depthwise_norm: whether a norm follows it.
        pointwise_norm: whether a norm follows the 1x1 convolution.
        depthwise_activated: whether a ReLU follows the depthwise convolution.
        pointwise_activated: whether one follows the 1x1 convolution.
    """

    channels: int
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    depthwise_norm: bool = True
    pointwise_norm: bool = True
    depthwise_activated: bool = False
    pointwise_activated: bool = False


@dataclass(frozen=True)
class XceptionStage:
    """One residual block.

    Attributes:
        convolutions: its separable convolutions, with a ReLU between them.
        pool: step of a maximum pooling after them; 1 for none.
        activation: where the block begins with a ReLU: before its ``path``, before path and
            shortcut (``both``), or nowhere (``none``).
    """

    convolutions: tuple[XceptionSeparable, ...]
    pool: int = 1
    activation: Literal["path", "both", "none"] = "both"

    @property
    def stride(self) -> int:
        """Step of the whole block."""
        return self.pool * self.convolutions[-1].stride


@dataclass(frozen=True)
class XceptionShape:
    """An Xception.

    Attributes:
        stages: the residual blocks.
        exit: the convolutions that follow.
        activate_exit: whether a ReLU stands before them.
        stem_padding: zeros around the input of the first two convolutions, on each side.
        low: where the low-level features come from: the output of the first block, as it is
            (``raw``) or after a ReLU (``activated``), or what goes into the last convolution of
            the second block (``inner``).
    """

    stages: tuple[XceptionStage, ...]
    exit: tuple[XceptionSeparable, ...]
    activate_exit: bool = False
    stem_padding: int = 1
    low: Literal["raw", "activated", "inner"] = "activated"


def _stage(
    channels: tuple[int, ...], stride: int = 1, dilations: tuple[int, ...] = (1, 1, 1)
) -> XceptionStage:
    """Return a block whose last convolution has the stride."""
    strides = (*[1] * (len(channels) - 1), stride)
    values = zip(channels, strides, dilations, strict=True)
    return XceptionStage(tuple(XceptionSeparable(c, s, d) for c, s, d in values))


def _deepened(output_stride: int, last: tuple[int, ...]) -> list[XceptionStage]:
    """Return the blocks of Xception-65; `last` are the dilations of the last of them."""
    small = output_stride == _SMALL_STRIDE
    middle = (2, 2, 2) if small else (1, 1, 1)
    return [
        _stage((128, 128, 128), 2),
        _stage((256, 256, 256), 2),
        _stage((728, 728, 728), 1 if small else 2),
        *[_stage((728,) * 3, dilations=middle)] * _MIDDLE_BLOCKS_65,
        _stage((728, 1024, 1024), dilations=last),
    ]


def _xception65(output_stride: int) -> XceptionShape:
    """Return Xception-65 as in jfzhang95's code."""
    rate = 16 // output_stride
    first, second, *others = _deepened(output_stride, (rate, rate, 1))
    bare = [dataclasses.replace(stage, activation="none") for stage in (first, second)]
    ends = (XceptionSeparable(c, dilation=2 * rate, pointwise_activated=True) for c in _EXIT_WIDTHS)
    return XceptionShape((*bare, *others), tuple(ends), activate_exit=True)


def _aligned_xception65(output_stride: int) -> XceptionShape:
    """Return Xception-65 as in TensorFlow's DeepLab."""
    rate = 16 // output_stride
    stages = _deepened(output_stride, (rate, rate, rate))
    channels = _STEM[-1]
    for index, stage in enumerate(stages):
        out = stage.convolutions[-1].channels
        if out != channels:
            stages[index] = dataclasses.replace(stage, activation="path")
        channels = out
    ends = (
        XceptionSeparable(c, dilation=rate, depthwise_activated=True, pointwise_activated=True)
        for c in _EXIT_WIDTHS
    )
    return XceptionShape(tuple(stages), tuple(ends), low="inner")


def _xception(output_stride: int) -> XceptionShape:
    """Return Chollet's Xception as VainF dilates it: the last convolutions shrink the map."""
    small = output_stride == _SMALL_STRIDE
    middle, last = (2, 4) if small else (1, 2)

    def stage(channels: tuple[int, ...], dilation: int = 1, pool: int = 1) -> XceptionStage:
        plain = XceptionSeparable(0, dilation=dilation, depthwise_norm=False)
        convolutions = tuple(dataclasses.replace(plain, channels=c) for c in channels)
        return XceptionStage(convolutions, pool, "path")

    first = dataclasses.replace(stage((128, 128), pool=2), activation="none")
    end = XceptionSeparable(2048, dilation=last, padding=1, depthwise_norm=False)
    return XceptionShape(
        (
            first,
            stage((256, 256), pool=2),
            stage((728, 728), middle, 1 if small else 2),
            *[stage((728,) * 3, middle)] * _MIDDLE_BLOCKS,
            stage((728, 1024), last),
        ),
        (
            dataclasses.replace(end, channels=1536, pointwise_activated=True),
            dataclasses.replace(end, pointwise_norm=False),
        ),
        stem_padding=0,
        low="raw",
    )


XCEPTIONS: dict[str, Callable[[int], XceptionShape]] = {
    "xception": _xception,
    "xception65": _xception65,
    "aligned_xception65": _aligned_xception65,
}


class XceptionConvolution(nn.Module):
    """A separable convolution of an Xception."""

    def __init__(self, in_channels: int, shape: XceptionSeparable) -> None:
        super().__init__()
        self.depthwise = ConvBlock(
            in_channels,
            in_channels,
            3,
            stride=shape.stride,
            dilation=shape.dilation,
            groups=in_channels,
            padding=shape.padding,
            norm=shape.depthwise_norm,
            activation="relu" if shape.depthwise_activated else "none",
        )
        self.pointwise = ConvBlock(
            in_channels,
            shape.channels,
            norm=shape.pointwise_norm,
            activation="relu" if shape.pointwise_activated else "none",
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class XceptionBlock(nn.Module):
    """Separable convolutions with a ReLU between them, and a parallel shortcut."""

    def __init__(self, in_channels: int, shape: XceptionStage) -> None:
        super().__init__()
        self.activation = shape.activation
        self.convolutions = nn.ModuleList()
        channels = in_channels
        for convolution in shape.convolutions:
            self.convolutions.append(XceptionConvolution(channels, convolution))
            channels = convolution.channels
        self.pool: nn.Module = (
            nn.Identity() if shape.pool == 1 else nn.MaxPool2d(3, shape.pool, padding=1)
        )
        self.shortcut: nn.Module = (
            nn.Identity()
            if in_channels == channels and shape.stride == 1
            else ConvBlock(in_channels, channels, stride=shape.stride, activation="none")
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, in, H, W)`` to what goes into the last convolution, and to the output."""
        if self.activation == "both":
            x = F.relu(x)
        y = inner = F.relu(x) if self.activation == "path" else x
        for index, convolution in enumerate(self.convolutions):
            inner = y
            y = convolution(F.relu(y) if index else y)
        shortcut: Tensor = self.shortcut(x)
        return inner, self.pool(y) + shortcut


class Xception(nn.Module):
    """Xception without its classifier."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        shape = XCEPTIONS[architecture.backbone](architecture.output_stride)
        padding = shape.stem_padding
        self.stem = nn.Sequential(
            ConvBlock(3, _STEM[0], 3, stride=2, padding=padding),
            ConvBlock(_STEM[0], _STEM[1], 3, padding=padding),
        )
        self.stages, self.exit = nn.ModuleList(), nn.ModuleList()
        channels = _STEM[1]
        for stage in shape.stages:
            self.stages.append(XceptionBlock(channels, stage))
            channels = stage.convolutions[-1].channels
        for convolution in shape.exit:
            self.exit.append(XceptionConvolution(channels, convolution))
            channels = convolution.channels
        self.low = shape.low
        self.activate_exit = shape.activate_exit
        low = shape.stages[1] if shape.low == "inner" else shape.stages[0]
        self.low_channels = low.convolutions[-1].channels
        self.high_channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, 3, H, W)`` to features at stride 4 and at the output stride."""
        _, x = self.stages[0](self.stem(x))
        if self.low == "activated":
            x = F.relu(x)
        low = x
        for index, stage in enumerate(self.stages[1:]):
            inner, x = stage(x)
            if self.low == "inner" and index == 0:
                low = inner
        if self.activate_exit:
            x = F.relu(x)
        for convolution in self.exit:
            x = convolution(x)
        return low, x
