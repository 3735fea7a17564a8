"""The few layers that every DeepLabv3+ is composed of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["relu", "relu6", "none"]
Convolution = Literal["dense", "separable", "separable_bn"]

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "none": nn.Identity,
}


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, activation: the one place where they meet.

    The padding keeps the size (stride 1) unless it is given. Without a norm the convolution has a
    bias only if asked for.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel.
        stride: step of the convolution.
        dilation: distance of the taps.
        groups: convolution groups; `in_channels` makes it depthwise.
        padding: zeros on each side; None for "same" at stride 1.
        norm: whether a batch normalisation follows.
        bias: whether the convolution has a bias.
        activation: what follows the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: int | None = None,
        norm: bool = True,
        bias: bool = False,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        if padding is None:
            padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=bias
        )
        self.norm: nn.Module = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.activation = _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y


class SeparableBlock(nn.Module):
    """A depthwise convolution and the 1x1 convolution that mixes its channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel.
        dilation: distance of its taps.
        inner: whether norm and ReLU stand between the two (``separable_bn``) or nothing does.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, dilation: int = 1, inner: bool
    ) -> None:
        super().__init__()
        self.depthwise = ConvBlock(
            in_channels,
            in_channels,
            kernel,
            dilation=dilation,
            groups=in_channels,
            norm=inner,
            activation="relu" if inner else "none",
        )
        self.pointwise = ConvBlock(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H, W)``."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


def make_convolution(
    kind: Convolution, in_channels: int, out_channels: int, kernel: int, dilation: int = 1
) -> nn.Module:
    """Return a same-size convolution with norm and ReLU of the kind that the head is made of."""
    if kind == "dense":
        return ConvBlock(in_channels, out_channels, kernel, dilation=dilation)
    return SeparableBlock(
        in_channels, out_channels, kernel, dilation=dilation, inner=kind == "separable_bn"
    )
