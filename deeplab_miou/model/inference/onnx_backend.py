"""The network through ONNX Runtime: exported at load time, once for each size of image.

On a GPU by its TensorRT provider, which takes minutes to build an engine for the first image of a
size, or else by its CUDA provider.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.inference.fast import accelerate

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network.deeplab import DeepLabV3Plus

# The last two write the graph that the first runs.
PACKAGES = ("onnxruntime", "onnx", "onnxscript")


# What runs on a GPU, the faster first.
_TENSORRT, _CUDA = GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
_CPU = "CPUExecutionProvider"

CPU = torch.device("cpu")

Providers = dict[str, dict[str, str]]


def missing_packages() -> list[str]:
    """Return those of `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def pick_providers(device: torch.device, *, half: bool) -> Providers:
    """Return the providers of ONNX Runtime for a device and their options, the preferred first.

    Args:
        device: where the network is to run.
        half: whether it may compute in half precision, which TensorRT alone does here.

    Raises:
        ConfigurationError: the installed ONNX Runtime has none for this device.
    """
    if device.type == "cpu":
        return {_CPU: {}}
    available = importlib.import_module("onnxruntime").get_available_providers()
    index = {"device_id": str(device.index or 0)}
    options = {
        _TENSORRT: index | {"trt_fp16_enable": str(int(half))},
        # TF32 has the mantissa of half precision.
        _CUDA: index | {"use_tf32": "0"},
    }
    found = {name: options[name] for name in GPU_PROVIDERS if name in available}
    if not found:
        raise ConfigurationError(
            f"backend 'onnxruntime' on {device} needs {' or '.join(GPU_PROVIDERS)}, the one "
            f"installed has {', '.join(available)}; install onnxruntime-gpu, on a Jetson NVIDIA's "
            "build of it, or use backend torch"
        )
    return found


class OnnxBackend:
    """ONNX Runtime on the CPU or a GPU, which it waits for.

    Args:
        network: left as it is.
        device: where the images are.
        half: whether it may compute in half precision.
        rewrite: whether the decoder may be rewritten.

    Attributes:
        name: what it is called in logs.
        dtype: of the images that it wants.

    Raises:
        ConfigurationError: a package is not installed, or has nothing for the device.
    """

    dtype = torch.float32

    def __init__(
        self,
        network: DeepLabV3Plus,
        device: torch.device = CPU,
        *,
        half: bool = False,
        rewrite: bool = True,
    ) -> None:
        missing = missing_packages()
        if missing:
            raise ConfigurationError(
                f"backend 'onnxruntime' needs {', '.join(missing)}; install "
                f"{' '.join(PACKAGES)} or use backend torch"
            )
        self._device = device
        self._providers = pick_providers(device, half=half)
        first = next(iter(self._providers))
        precision = "fp16" if half and first == _TENSORRT else "fp32"
        self.name = f"ONNX Runtime {precision}" + (", rewritten decoder" if rewrite else "")
        if device.type != "cpu":
            self.name += f", {first}"
        # Exported on the CPU, wherever the network is by now.
        self._network = _Coarse(accelerate(network, rewrite=rewrite, fuse=False).cpu())
        self._sessions: dict[tuple[int, ...], Any] = {}

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``; the first of a size takes seconds or minutes.

        Raises:
            ConfigurationError: the provider that was picked cannot be loaded.
        """
        shape = tuple(images.shape)
        if shape not in self._sessions:
            self._sessions[shape] = self._export(images)
        session = self._sessions[shape]
        (source,), (target,) = session.get_inputs(), session.get_outputs()
        images = images.contiguous()
        logits = torch.empty(target.shape, device=self._device)
        binding = session.io_binding()
        place = (self._device.type, self._device.index or 0, np.float32)
        binding.bind_input(source.name, *place, shape, images.data_ptr())
        binding.bind_output(target.name, *place, tuple(logits.shape), logits.data_ptr())
        if self._device.type == "cuda":
            # The session has a stream of its own.
            torch.cuda.current_stream(self._device).synchronize()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return logits

    def _export(self, images: Tensor) -> Any:  # noqa: ANN401 - a session of an optional package
        runtime = importlib.import_module("onnxruntime")
        exporter = logging.getLogger("torch.onnx")
        level = exporter.level
        exporter.setLevel(logging.ERROR)
        try:
            with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
                # The exporter warns of what it is going to do in later versions.
                warnings.simplefilter("ignore")
                example = torch.zeros(images.shape)
                program = torch.onnx.export(
                    self._network, (example,), dynamo=True, verbose=False, optimize=True
                )
        finally:
            exporter.setLevel(level)
        if program is None:
            raise RuntimeError("the ONNX exporter returned nothing")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(
            program.model_proto.SerializeToString(),
            options,
            providers=list(self._providers.items()),
        )
        first, used = next(iter(self._providers)), session.get_providers()
        if first not in used:
            # A library that it needs is missing; it continues without, saying so only on stderr.
            raise ConfigurationError(
                f"backend 'onnxruntime' could not load {first} and would run on {used[0]}; install "
                "the libraries that it names above, or use backend torch"
            )
        return session


class _Coarse(nn.Module):
    """What is exported: everything but the last upsampling."""

    def __init__(self, network: DeepLabV3Plus) -> None:
        super().__init__()
        # Contiguous: ONNX knows no other layout.
        self.network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network.coarse_logits(images)
        return logits
