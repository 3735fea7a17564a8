"""Backends compute coarse logits, with PyTorch or ONNX Runtime, on a CPU or GPU."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import torch
from torch import nn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.programs import Program
from deeplab_miou.model.inference.fast import accelerate, can_rewrite
from deeplab_miou.model.inference.onnx_backend import OnnxBackend
from deeplab_miou.model.network.deeplab import DeepLabV3Plus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from deeplab_miou.model.inference.devices import Precision

BackendName = Literal["auto", "torch", "onnxruntime", "eager"]

_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class Backend(Protocol):
    """Runs one network.

    Attributes:
        name: what it is called in logs.
        dtype: of the images that it wants.
    """

    name: str
    dtype: torch.dtype

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map normalised images ``(N, 3, H, W)`` to logits ``(N, n, h, w)`` of any float type."""


class PlainBackend:
    """The network as it was loaded; the other backends are checked against it.

    Args:
        network: a `DeepLabV3Plus` or a program.
        device: where it runs.
    """

    name = "plain PyTorch"
    dtype = torch.float32

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        if isinstance(network, Program):
            network.place(device)
        else:
            network.to(device)
        self._network = network

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``."""
        if isinstance(self._network, DeepLabV3Plus):
            return self._network.coarse_logits(images)
        logits: Tensor = self._network(images)
        return logits


class TorchBackend:
    """PyTorch with folded norms, the rewritten decoder and pixels laid out channels last.

    It never waits for the device, but in its first run on a size.

    Args:
        network: left as it is.
        device: where it runs.
        precision: what it computes in.
        rewrite: whether the decoder may be rewritten.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        device: torch.device,
        precision: Precision,
        *,
        rewrite: bool = True,
    ) -> None:
        self.name = f"PyTorch {precision}" + (", rewritten decoder" if rewrite else "")
        self.dtype = _DTYPES[precision]
        resident = copy.deepcopy(network).to(device)
        self._network = accelerate(resident, rewrite=rewrite).to(self.dtype)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``."""
        images = images.to(self.dtype, memory_format=torch.channels_last)
        return self._network.coarse_logits(images)


def check_backend(backend: str) -> None:
    """Check a backend's name.

    Raises:
        ConfigurationError: it is not known.
    """
    choices = get_args(BackendName)
    if backend not in choices:
        raise ConfigurationError(
            f"backend is {backend!r}, expected {', '.join(choices[:-1])} or {choices[-1]}"
        )


def candidates(
    network: nn.Module, device: torch.device, precision: Precision, backend: str, *, rewrite: bool
) -> Iterator[Backend]:
    """Yield the backends for a network, the preferred one first; the last one needs no check.

    Raises:
        ConfigurationError: the backend is not installed, or not for this device.
    """
    if isinstance(network, DeepLabV3Plus) and backend != "eager":
        rewrite = rewrite and can_rewrite(network.architecture)
        if backend == "onnxruntime":
            yield OnnxBackend(network, device, half=precision == "fp16", rewrite=rewrite)
        if precision != "fp32":
            yield TorchBackend(network, device, precision, rewrite=rewrite)
        if rewrite:
            yield TorchBackend(network, device, "fp32")
        yield TorchBackend(network, device, "fp32", rewrite=False)
    yield PlainBackend(network, device)
