"""Networks that come as programs: TorchScript, torch.export and ONNX files, run as they are.

Such a file decides what is computed: load only files that you trust.
"""

from __future__ import annotations

import importlib
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.checkpoint import Checkpoint, Preprocessing
from deeplab_miou.model.checkpoints.weights import is_plain_tensor_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PROBE = (256, 256)
_DIMENSIONS = 4


class Program(nn.Module):
    """A foreign network behind our interface.

    Args:
        run: maps normalised float32 images ``(1, 3, H, W)`` to whatever it puts out: logits
            ``(1, n, h, w)``, or these in a tuple or under ``out`` in a dictionary.
        owner: the module that `run` belongs to, so that moving this one moves it too.
        fixed_size: (H, W) that the program is bound to; None for any.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Any],
        owner: nn.Module | None = None,
        fixed_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.owner = owner
        self.fixed_size = fixed_size

    def train(self, mode: bool = True) -> Program:  # noqa: FBT001, FBT002 - as inherited
        """Leave the program in the mode that it was exported in."""
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``, one image at a time.

        Raises:
            RuntimeError: whatever the program's own runtime raised.
        """
        try:
            outputs = [self.run(image) for image in torch.split(images, 1)]
        except RuntimeError:
            raise
        except Exception as error:
            # ONNX Runtime's errors are of no common class, the guards of exports are assertions.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        return torch.cat([_logits(output) for output in outputs])


def read(path: Path, kind: str, preprocessing: Preprocessing) -> Checkpoint:
    """Load a program and run it once to learn its number of classes.

    Args:
        path: the file.
        kind: a key of `READERS`.
        preprocessing: what its images need; its size is set to the program's own where that is
            fixed.

    Raises:
        ConfigurationError: the file is damaged, is no segmentation network of three channels, or
            needs a package that is not installed.
    """
    try:
        program = READERS[kind](path)
    except ConfigurationError:
        raise
    except Exception as error:
        # Each format's reader has errors of its own, some of them without a class.
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"checkpoint {path}: damaged {kind} file ({reason})") from error
    size = program.fixed_size or preprocessing.size
    height, width = size or _PROBE
    try:
        with torch.inference_mode():
            logits = program(torch.zeros(1, 3, height, width))
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint {path}: {kind} file: {error}") from error
    except Exception as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise ConfigurationError(
            f"checkpoint {path}: the {kind} network fails on a (1, 3, {height}, {width}) image "
            f"({reason}); if it needs another size, give it as preprocessing size"
        ) from error
    return Checkpoint(
        network=program.eval(),
        family=kind,
        num_classes=logits.shape[1],
        output_stride=0,
        preprocessing=Preprocessing(preprocessing.mean, preprocessing.std, size)
        if program.fixed_size
        else preprocessing,
        label_map=None,
        path=path,
    )


def _logits(output: object) -> Tensor:
    """Find the logits in a program's output."""
    if isinstance(output, dict) and "out" in output:
        output = output["out"]
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if (
        not isinstance(output, Tensor)
        or output.ndim != _DIMENSIONS
        or not output.is_floating_point()
    ):
        found = (
            f"{output.dtype} {tuple(output.shape)}"
            if isinstance(output, Tensor)
            else type(output).__name__
        )
        raise ConfigurationError(
            f"its output is {found}, expected logits (1, classes, height, width); export the "
            "network without its argmax"
        )
    return output.float()


def _read_torchscript(path: Path) -> Program:
    with warnings.catch_warnings():
        # Deprecated for new exports; the files that exist still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    module.eval()
    return Program(module, module)


def _read_export(path: Path) -> Program:
    _refuse_pickles(path)
    exported = torch.export.load(path)
    images = next(
        node.meta["val"]
        for node in exported.graph.nodes
        if node.op == "placeholder" and node.name in exported.graph_signature.user_inputs
    )
    height, width = images.shape[-2:]
    fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    module = exported.module()
    return Program(module, module, fixed)


def _refuse_pickles(path: Path) -> None:
    """Raise if a .pt2 archive holds objects that PyTorch would unpickle without restraint."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name) if name.endswith((".pt", "config.json")) else b""
            if name.endswith("config.json"):
                entries: Mapping[str, Mapping[str, object]] = json.loads(content).get("config", {})
                refused = any(entry.get("use_pickle") for entry in entries.values())
            else:
                refused = bool(content) and not is_plain_tensor_file(content)
            if refused:
                raise ConfigurationError(
                    f"checkpoint {path}: {name} holds pickled objects, which can run code; "
                    "export the network with tensors only"
                )


class _OnnxSession:
    """Runs an ONNX file through ONNX Runtime on the CPU."""

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
        self._input = self._session.get_inputs()[0]

    def fixed_size(self) -> tuple[int, int] | None:
        """Return the (H, W) that the graph is bound to."""
        height, width = self._input.shape[-2:]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def __call__(self, images: Tensor) -> Tensor:
        """Map ``(1, 3, H, W)`` to the graph's first output."""
        feed = {self._input.name: images.cpu().numpy()}
        return torch.from_numpy(self._session.run(None, feed)[0])


def _read_onnx(path: Path) -> Program:
    session = _OnnxSession(path)
    return Program(session, None, session.fixed_size())


READERS: dict[str, Callable[[Path], Program]] = {
    "TorchScript": _read_torchscript,
    "torch.export": _read_export,
    "ONNX": _read_onnx,
}
