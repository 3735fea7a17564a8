"""ONNX files through ONNX Runtime on the CPU, whatever layout and type their input has."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

import torch

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

_CHANNELS = 3
_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}
# How the graph's text format names a file beside it: a StringStringEntryProto with key "location"
# (field 1) and value (field 2), each with its length before it.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


class OnnxSession:
    """Runs an ONNX file.

    Args:
        path: the file.

    Attributes:
        dtype: type of the images that it takes.
        fixed_size: (H, W) that the graph is bound to; None for any.
        extra_files: files beside it that hold its weights.

    Raises:
        ConfigurationError: ONNX Runtime is not installed, or the graph takes no image.
    """

    def __init__(self, path: Path) -> None:
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise ConfigurationError(
                f"checkpoint {path}: ONNX files need ONNX Runtime; install onnxruntime"
            ) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _DTYPES:  # noqa: PLR2004
            found = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
            raise ConfigurationError(
                f"checkpoint {path}: the graph takes {found}, expected one image (1, 3, height, "
                f"width) or (1, height, width, 3) of {', '.join(_DTYPES)}"
            )
        self._input = inputs[0].name
        self.dtype = _DTYPES[inputs[0].type]
        _, *sides = inputs[0].shape
        self._channels_last = sides[0] != _CHANNELS and sides[2] == _CHANNELS
        height, width = sides[:2] if self._channels_last else sides[1:]
        whole = isinstance(height, int) and isinstance(width, int)
        self.fixed_size = (height, width) if whole else None
        self.extra_files = external_files(path)

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Map ``(1, 3, H, W)`` to the graph's outputs, channels first."""
        if self._channels_last:
            images = images.permute(0, 2, 3, 1)
        found = self._session.run(None, {self._input: images.cpu().contiguous().numpy()})
        outputs = [torch.from_numpy(each) for each in found]
        return [_channels_first(each) if self._channels_last else each for each in outputs]


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold its weights, sorted."""
    data = path.read_bytes()
    names = {
        data[found.end() : found.end() + found[1][0]].decode(errors="replace")
        for found in _LOCATION.finditer(data)
    }
    beside = (path.parent / name for name in sorted(names) if "\0" not in name)
    return tuple(each for each in beside if each.is_file())


def _channels_first(output: Tensor) -> Tensor:
    """Return logits ``(1, h, w, n)`` as ``(1, n, h, w)``; what has another shape stays."""
    return output.permute(0, 3, 1, 2) if output.ndim == 4 else output  # noqa: PLR2004
