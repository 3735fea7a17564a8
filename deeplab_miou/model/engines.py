"""What computes coarse logits: PyTorch on a CPU or GPU, or ONNX Runtime on a CPU."""

from __future__ import annotations

import copy
import ctypes
import ctypes.util
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from deeplab_miou.model.fast import accelerate
from deeplab_miou.model.network import DeepLabV3Plus

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.devices import Precision

# mallopt(3): parameters, and the size above which blocks go back to the kernel from now on.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_BLOCK = 1 << 30

_DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class Engine(Protocol):
    """Runs one network.

    Attributes:
        name: what it is called in logs.
    """

    name: str

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map normalised float32 images ``(N, 3, H, W)`` to float32 logits ``(N, n, h, w)``."""


class PlainEngine:
    """The network as it was loaded: what the others are measured by.

    Args:
        network: a `DeepLabV3Plus` or a program.
        device: where it runs.
    """

    name = "plain PyTorch"

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network.to(device)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``."""
        if isinstance(self._network, DeepLabV3Plus):
            return self._network.coarse_logits(images)
        logits: Tensor = self._network(images)
        return logits


class TorchEngine:
    """PyTorch with folded norms, the rewritten decoder and pixels laid out channels last.

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
        self._dtype = _DTYPES[precision]
        resident = copy.deepcopy(network).to(device)
        self._network = accelerate(resident, rewrite=rewrite).to(self._dtype)

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``."""
        images = images.to(self._dtype, memory_format=torch.channels_last)
        return self._network.coarse_logits(images).float()


def keep_memory() -> None:
    """Have the C library keep freed memory for the next frame instead of returning it.

    glibc returns blocks above 32 MiB at once, and the pages of the next such block then cost more
    than the convolution that fills it (measured: 25 ms of 29 in one layer). Other C libraries are
    left alone.
    """
    name = ctypes.util.find_library("c")
    if name is None:
        return
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_BLOCK)
