"""The same network in fewer operations: folded normalisation and a reordered decoder.

Both rewrites are exact in real arithmetic; in float32 they differ from the plain network by
rounding alone, which `deeplab_miou.model.segmenter` checks once at warm-up.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.model.inference import onednn
from deeplab_miou.model.network.blocks import ConvBlock

if TYPE_CHECKING:
    from deeplab_miou.model.network.architecture import Architecture
    from deeplab_miou.model.network.deeplab import Decoder, DeepLabV3Plus

_TAPS = 3
_BAND = 32


def accelerate(network: DeepLabV3Plus, *, rewrite: bool = True, fuse: bool = True) -> DeepLabV3Plus:
    """Return an equivalent network that is faster to evaluate; the given one is left as it is.

    Args:
        network: in evaluation mode.
        rewrite: whether the decoder is rewritten where that pays (dense 3x3 convolutions).
        fuse: whether convolutions on a CPU use oneDNN's own operator, which cannot be exported.
    """
    fast = copy.deepcopy(network)
    for module in fast.modules():
        if isinstance(module, ConvBlock):
            _fold(module)
    if rewrite and can_rewrite(network.architecture):
        fast.decoder = RewrittenDecoder(fast.decoder)  # type: ignore[assignment]
    on_cpu = next(fast.parameters()).device.type == "cpu"
    if fuse and on_cpu and onednn.is_available():
        onednn.fuse(fast)
    fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast.requires_grad_(requires_grad=False).eval()


def can_rewrite(architecture: Architecture) -> bool:
    """Return whether a decoder begins with what the rewrite is for, a dense 3x3 convolution."""
    first_is_dense = (
        architecture.decoder_convolution == "dense" and architecture.decoder_kernel == _TAPS
    )
    return first_is_dense and architecture.low_width > 0 and architecture.decoder_layers > 0


class RewrittenDecoder(nn.Module):
    """A decoder that convolves before it upsamples, on a sixteenth of the pixels.

    ``conv3x3(cat[low, up(a)]) = conv3x3(low) + sum over taps of shift(up(W_tap a))``, because the
    1x1 mixing ``W_tap`` and the bilinear ``up`` act on different axes and commute. Upsampling and
    shift are linear and separable too: one matrix a tap and axis, zero outside the image.

    Args:
        decoder: a decoder with folded norms and dense 3x3 convolutions; its modules are reused.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        first, *others = decoder.convolutions
        weight = cast("ConvBlock", first).conv.weight.detach()
        bias = cast("Tensor", cast("ConvBlock", first).conv.bias).detach()
        low = cast("ConvBlock", decoder.low)
        channels, low_width = weight.shape[0], low.conv.out_channels
        split = [low_width, weight.shape[1] - low_width]
        if decoder.low_first:
            for_low, for_deep = torch.split(weight, split, dim=1)
        else:
            for_deep, for_low = torch.split(weight, split[::-1], dim=1)
        self.align_corners = decoder.align_corners
        self.low: nn.Module = low
        self.low_convolution = nn.Conv2d(low_width, channels, _TAPS, padding=1)
        self.low_convolution.weight = nn.Parameter(for_low.contiguous())
        self.low_convolution.bias = nn.Parameter(bias)
        # Order of the mixed channels: vertical tap, horizontal tap, channel.
        self.mix = nn.Conv2d(split[1], _TAPS * channels * _TAPS, 1, bias=False)
        self.mix.weight = nn.Parameter(
            for_deep.permute(2, 3, 0, 1).reshape(-1, split[1], 1, 1).contiguous()
        )
        self.others = nn.Sequential(*others)
        self.classify = decoder.classify
        self._cache: dict[
            tuple[int, int, torch.device, torch.dtype], list[tuple[slice, slice, Tensor]]
        ] = {}

    def forward(self, low: Tensor, deep: Tensor) -> Tensor:
        """Map features ``(N, c, h, w)`` and ``(N, aspp_width, h', w')`` to ``(N, n, h, w)``."""
        if torch.compiler.is_exporting():
            return self._exported(low, deep)
        y = self.low_convolution(self.low(low)).contiguous(memory_format=torch.channels_last)
        mixed = self.mix(deep).contiguous(memory_format=torch.channels_last)
        for target, source in zip(y.permute(0, 2, 3, 1), mixed.permute(0, 2, 3, 1), strict=True):
            self._add_upsampled(target, source)
        logits: Tensor = self.classify(self.others(F.relu_(y)))
        return logits

    def _exported(self, low: Tensor, deep: Tensor) -> Tensor:
        """Do the same in few large products, which graph formats can express."""
        y = self.low_convolution(self.low(low))
        batch, channels, height, width = y.shape
        rows, columns = deep.shape[-2:]
        mixed = self.mix(deep).view(batch, _TAPS, _TAPS, channels, rows, columns)
        across = shifted_upsampling(columns, width, align_corners=self.align_corners)
        down = shifted_upsampling(rows, height, align_corners=self.align_corners).transpose(1, 2)
        for vertical in range(_TAPS):
            wide = sum(mixed[:, vertical, tap] @ across[tap] for tap in range(_TAPS))
            y = y + down[vertical] @ wide
        logits: Tensor = self.classify(self.others(F.relu(y)))
        return logits

    def _add_upsampled(self, target: Tensor, source: Tensor) -> None:
        """Add the upsampled and shifted taps of one image.

        Args:
            target: ``(h, w, c)``, contiguous.
            source: ``(h', w', 3 * 3 * c)``: vertical tap, horizontal tap, channel.
        """
        height, width, channels = target.shape
        rows, columns = source.shape[:2]
        taps = source.view(rows, columns, _TAPS, _TAPS, channels)
        wide = source.new_empty(_TAPS, rows, width, channels)
        for out, band, matrix in self._bands(columns, width, source):
            for tap in range(_TAPS):
                # (rows, columns in, horizontal tap, channel): the two middle axes are contracted.
                part = taps[:, band, tap].reshape(rows, -1, channels)
                wide[tap, :, out] = matrix @ part
        flat, tall = target.view(height, -1), wide.view(_TAPS, rows, -1)
        for out, band, matrix in self._bands(rows, height, source):
            part = tall[:, band].transpose(0, 1).reshape(matrix.shape[1], -1)
            flat[out].addmm_(matrix, part)

    def _bands(self, inputs: int, outputs: int, like: Tensor) -> list[tuple[slice, slice, Tensor]]:
        key = (inputs, outputs, like.device, like.dtype)
        if key not in self._cache:
            matrices = shifted_upsampling(inputs, outputs, align_corners=self.align_corners)
            self._cache[key] = [
                (out, band, matrix.to(like.device, like.dtype))
                for out, band, matrix in split_into_bands(matrices)
            ]
        return self._cache[key]


def split_into_bands(matrices: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Cut upsampling matrices into blocks that leave out most of their zeros.

    Args:
        matrices: ``(3, inputs, outputs)`` from `shifted_upsampling`.

    Returns:
        For each block its outputs, the inputs that they depend on, and the matrix
        ``(outputs, inputs * 3)`` between them.
    """
    bands = []
    for start in range(0, matrices.shape[2], _BAND):
        out = slice(start, min(start + _BAND, matrices.shape[2]))
        used = matrices[:, :, out].abs().sum((0, 2)).nonzero()
        band = slice(int(used.min()), int(used.max()) + 1)
        matrix = matrices[:, band, out].permute(2, 1, 0).flatten(1).contiguous()
        bands.append((out, band, matrix))
    return bands


def shifted_upsampling(inputs: int, outputs: int, *, align_corners: bool) -> Tensor:
    """Return bilinear upsampling along one axis as seen through the taps of a 3-tap kernel.

    Returns:
        ``(3, inputs, outputs)`` float32: row vectors times matrix ``t`` are upsampled and moved by
        ``t - 1``, zero where the tap lies outside.
    """
    rows = F.interpolate(
        torch.eye(inputs)[None, :, None, :],
        size=(1, outputs),
        mode="bilinear",
        align_corners=align_corners,
    )[0, :, 0]
    padded = F.pad(rows, (1, 1))
    return torch.stack([padded[:, tap : tap + outputs] for tap in range(_TAPS)])


def _fold(block: ConvBlock) -> None:
    """Fold a block's norm into its convolution: ``w * s``, ``(b - mean) * s + beta``."""
    norm = block.norm
    if not isinstance(norm, nn.BatchNorm2d):
        return
    conv = block.conv
    mean, var = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    # In float64, so that folding costs half a bit and no more.
    scale = norm.weight.double() / (var.double() + norm.eps).sqrt()
    bias = torch.zeros_like(scale) if conv.bias is None else conv.bias.double()
    shift = (bias - mean.double()) * scale + norm.bias.double()
    weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(shift.float(), requires_grad=False)
    block.norm = nn.Identity()
