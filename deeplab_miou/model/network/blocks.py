"""The few layers that every DeepLabv3+ is composed of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["relu", "relu6", "silu", "hardswish", "sigmoid", "hardsigmoid", "none"]
Convolution = Literal["dense", "separable", "separable_bn"]

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
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


class SamePadding(nn.Module):
    """Zeros around a map as TensorFlow's "SAME" puts them, the odd one below and on the right.

    Args:
        kernel: side of the kernel of the convolution that follows.
        stride: its step.
        size: side of the square map that the zeros are counted for; None for the map that comes.
    """

    def __init__(self, kernel: int, stride: int, size: int | None = None) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, c, H, W)`` to ``(N, c, H + vertical zeros, W + horizontal zeros)``."""
        top, bottom = self._zeros(x.shape[-2])
        left, right = self._zeros(x.shape[-1])
        return F.pad(x, (left, right, top, bottom))

    def _zeros(self, side: int) -> tuple[int, int]:
        if self.size is not None:
            side = self.size
        total = max(self.kernel - (side % self.stride or self.stride), 0)
        return total // 2, total - total // 2


class SqueezeExcitation(nn.Module):
    """Scales each channel by what a small network makes of the means of all (Hu et al. 2018).

    Args:
        channels: of the input and the output.
        squeezed: of the layer between.
        activation: what follows that layer.
        gate: what makes the scale of each channel.
    """

    def __init__(
        self, channels: int, squeezed: int, *, activation: Activation, gate: Activation
    ) -> None:
        super().__init__()
        self.reduce = ConvBlock(channels, squeezed, norm=False, bias=True, activation=activation)
        self.expand = ConvBlock(squeezed, channels, norm=False, bias=True, activation=gate)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, c, H, W)`` to the same shape."""
        scale: Tensor = self.expand(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * scale


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
