"""The network through ONNX Runtime: exported at load time, once for each size of image."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.fast import accelerate

if TYPE_CHECKING:
    from torch import Tensor

    from deeplab_miou.model.network import DeepLabV3Plus

# The last two write the graph that the first runs.
PACKAGES = ("onnxruntime", "onnx", "onnxscript")


def missing_packages() -> list[str]:
    """Return those of `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


class OnnxEngine:
    """ONNX Runtime on the CPU.

    Args:
        network: left as it is.
        rewrite: whether the decoder may be rewritten.

    Attributes:
        name: what it is called in logs.
        dtype: of the images that it wants.

    Raises:
        ConfigurationError: a package is not installed.
    """

    dtype = torch.float32

    def __init__(self, network: DeepLabV3Plus, *, rewrite: bool = True) -> None:
        missing = missing_packages()
        if missing:
            raise ConfigurationError(
                f"backend 'onnxruntime' needs {', '.join(missing)}; install "
                f"{' '.join(PACKAGES)} or use backend torch"
            )
        self.name = "ONNX Runtime fp32" + (", rewritten decoder" if rewrite else "")
        self._network = _Coarse(accelerate(network, rewrite=rewrite, fuse=False))
        self._sessions: dict[tuple[int, ...], Any] = {}

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``; the first of a size takes seconds."""
        shape = tuple(images.shape)
        if shape not in self._sessions:
            self._sessions[shape] = self._export(images)
        session = self._sessions[shape]
        feed = {session.get_inputs()[0].name: images.contiguous().numpy()}
        return torch.from_numpy(session.run(None, feed)[0])

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
        return runtime.InferenceSession(
            program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


class _Coarse(nn.Module):
    """What is exported: everything but the last upsampling."""

    def __init__(self, network: DeepLabV3Plus) -> None:
        super().__init__()
        # Contiguous: ONNX knows no other layout.
        self.network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network.coarse_logits(images)
        return logits
