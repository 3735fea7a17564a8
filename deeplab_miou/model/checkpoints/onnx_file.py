"""ONNX files, run by ONNX Runtime on the CPU, with their external weights."""

from __future__ import annotations

import importlib
import mmap
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}
# An entry of `TensorProto.external_data` as protocol buffers write it: key "location", then the
# value's tag, its length and itself.
_LOCATION = re.compile(rb"\n\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")
_ERRORS_ONLY = 3


def external_files(path: Path) -> list[Path]:
    """Return the external weight files of an ONNX file, in the order of their names.

    Raises:
        ConfigurationError: one of them is not there, or not below the file's own folder.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = set()
        for found in _LOCATION.finditer(content):
            size = found[1][0] & 0x7F | (found[1][1] << 7 if len(found[1]) > 1 else 0)
            names.add(content[found.end() : found.end() + size].decode(errors="replace"))
    files = []
    for name in sorted(names):
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise ConfigurationError(
                f"checkpoint {path}: its weights are in {name!r}, expected a file next to it; "
                "export it again into one folder"
            )
        if not (path.parent / place).is_file():
            raise ConfigurationError(
                f"checkpoint {path}: its weights are in {name!r}, which is not next to it; copy "
                "both files into one folder"
            )
        files.append(path.parent / place)
    return files


class OnnxSession:
    """Runs an ONNX file.

    Args:
        path: the file.

    Attributes:
        shape: of the images that it takes; sides that are free are None.
        dtype: of the images that it takes.

    Raises:
        ConfigurationError: ONNX Runtime is not installed, or the graph takes no single image.
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
        options.log_severity_level = _ERRORS_ONLY
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise ConfigurationError(
                f"checkpoint {path}: the graph has {len(inputs)} inputs ({names}), expected one, "
                "the image"
            )
        if inputs[0].type not in _DTYPES:
            raise ConfigurationError(
                f"checkpoint {path}: the graph takes {inputs[0].type}, expected images as "
                f"{', '.join(_DTYPES)}"
            )
        self._input = inputs[0].name
        self._outputs = [each.name for each in self._session.get_outputs()]
        self.dtype = _DTYPES[inputs[0].type]
        self.shape = tuple(side if isinstance(side, int) else None for side in inputs[0].shape)

    def __call__(self, images: Tensor) -> dict[str, Any]:
        """Map images to the graph's outputs by name."""
        feed = {self._input: np.ascontiguousarray(images.cpu().numpy())}
        outputs = zip(self._outputs, self._session.run(None, feed), strict=True)
        return {name: torch.from_numpy(o) for name, o in outputs if isinstance(o, np.ndarray)}
