"""Blocks as PyTorch's own compiler runs them on CPUs: one call of oneDNN for each."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from deeplab_miou.model.network.blocks import ConvBlock

if TYPE_CHECKING:
    from torch import Tensor

_RELU6_MAX = 6.0
# From this dilation on a depthwise convolution may reach beyond its map.
_FAR = 12


class FusedBlock(nn.Module):
    """A folded block as one call of oneDNN, which applies the activation while it writes.

    Args:
        block: a block without norm; its convolution is reused.
    """

    def __init__(self, block: ConvBlock) -> None:
        super().__init__()
        conv = block.conv
        self.conv = conv
        self.arguments = (
            list(cast("tuple[int, ...]", conv.padding)),
            list(conv.stride),
            list(conv.dilation),
            conv.groups,
            *_ONEDNN[type(block.activation)],
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in, H, W)`` to ``(N, out, H', W')``."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001 - see below
            x, self.conv.weight, self.conv.bias, *self.arguments
        )
        return y


class FarBlock(nn.Module):
    """A depthwise 3x3 block whose taps are so far apart that many of them lie outside the map.

    oneDNN has no fast kernel for that. Here each tap is the map itself, moved and multiplied, and
    taps that reach nothing cost nothing (measured, 1280 channels on 32x64 at dilation 36: 2.4 ms
    instead of 41). On maps that are large against the dilation the fused operator is used.

    Args:
        block: a block without norm; its convolution is reused.
    """

    def __init__(self, block: ConvBlock) -> None:
        super().__init__()
        self.fused = FusedBlock(block)
        self.activation = block.activation

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, c, H, W)`` to the same shape."""
        conv = self.fused.conv
        dilation = conv.dilation[0]
        sides = (x.shape[2], x.shape[3])
        if 2 * dilation < min(sides):
            fused: Tensor = self.fused(x)
            return fused
        taps = conv.weight.reshape(1, -1, 3, 3, 1, 1)
        y = x * taps[:, :, 1, 1]
        if conv.bias is not None:
            y += conv.bias.view(1, -1, 1, 1)
        for row, column in itertools.product(range(3), repeat=2):
            moves = (dilation * (row - 1), dilation * (column - 1))
            if moves == (0, 0) or any(abs(m) >= n for m, n in zip(moves, sides, strict=True)):
                continue
            to_y, to_x = (
                slice(max(0, -m), n - max(0, m)) for m, n in zip(moves, sides, strict=True)
            )
            of_y, of_x = (
                slice(max(0, m), n - max(0, -m)) for m, n in zip(moves, sides, strict=True)
            )
            y[:, :, to_y, to_x].addcmul_(x[:, :, of_y, of_x], taps[:, :, row, column])
        activated: Tensor = self.activation(y)
        return activated


# Name, scalars and algorithm of oneDNN's post-operation.
_ONEDNN: dict[type[nn.Module], tuple[str, list[float], str]] = {
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.SiLU: ("swish", [], ""),
    nn.Hardswish: ("hardswish", [], ""),
    nn.Sigmoid: ("sigmoid", [], ""),
    nn.Hardsigmoid: ("hardsigmoid", [], ""),
    nn.Identity: ("none", [], ""),
}


@functools.cache
def is_available() -> bool:
    """Return whether this PyTorch has the operator that its own compiler uses on CPUs.

    It is not part of the public interface, so it is tried; without it the blocks run as they are.
    """
    x, weight = torch.ones(1, 1, 2, 2), torch.full((1, 1, 1, 1), 7.0)
    block = ConvBlock(1, 1, norm=False, bias=True, activation="relu6")
    block.conv.weight = nn.Parameter(weight)
    try:
        with torch.inference_mode():
            return bool((FusedBlock(block)(x) == _RELU6_MAX).all())
    except (AttributeError, RuntimeError):
        return False


def fuse(module: nn.Module) -> None:
    """Replace all blocks below a module, their norms folded, by faster ones."""
    for name, child in module.named_children():
        if isinstance(child, ConvBlock):
            setattr(module, name, _replacement(child))
        else:
            fuse(child)


def _replacement(block: ConvBlock) -> nn.Module:
    conv = block.conv
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    same_size = conv.padding == conv.dilation and conv.stride == (1, 1)
    if depthwise and same_size and conv.kernel_size == (3, 3) and conv.dilation[0] >= _FAR:
        return FarBlock(block)
    return FusedBlock(block)
