"""Networks that come as programs: TorchScript, torch.export and ONNX files, run as they are.

Such a file decides what is computed: load only files that you trust.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.checkpoint import Checkpoint, Preprocessing
from deeplab_miou.model.checkpoints.onnx_file import OnnxSession
from deeplab_miou.model.checkpoints.program_outputs import Reading, pick_reading
from deeplab_miou.model.checkpoints.weights import is_plain_tensor_file
from deeplab_miou.model.inference.normalise import make_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PROBE = (256, 256)
_LEVELS = 255


class Program(nn.Module):
    """A foreign network behind our interface.

    Args:
        run: maps images ``(1, 3, H, W)`` to whatever it puts out, see `pick_reading`.
        owner: the module that `run` belongs to, so that moving this one moves it too.
        fixed_size: (H, W) that the program is bound to; None for any.
        dtype: type of the images that it takes; for uint8 they are RGB in 0..255.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Any],
        owner: nn.Module | None = None,
        fixed_size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.run = run
        self.owner = owner
        self.fixed_size = fixed_size
        self.dtype = dtype
        self.reading: Reading | None = None

    def train(self, mode: bool = True) -> Program:  # noqa: FBT001, FBT002 - as inherited
        """Leave the program in the mode that it was exported in."""
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to logits ``(N, n, h, w)`` or labels, one image at a time.

        Raises:
            RuntimeError: whatever the program's own runtime raised.
        """
        reading = self.reading
        if reading is None:
            raise ValueError("the program's output is not known yet: call learn_output first")
        return torch.cat([reading(self.raw(image)) for image in torch.split(images, 1)])

    def raw(self, image: Tensor) -> object:
        """Return what the program puts out for an image ``(1, 3, H, W)``.

        Raises:
            RuntimeError: whatever the program's own runtime raised.
        """
        if self.dtype == torch.uint8:
            image = (image * _LEVELS).round().clamp(0, _LEVELS)
        try:
            return self.run(image.to(self.dtype))
        except RuntimeError:
            raise
        except Exception as error:
            # ONNX Runtime's errors are of no common class, the guards of exports are assertions.
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    def learn_output(self, probes: Tensor) -> None:
        """Run the program on images ``(N, 3, H, W)`` and learn how its output is read.

        Raises:
            ConfigurationError: the output is that of no segmentation network.
            RuntimeError: whatever the program's own runtime raised.
        """
        self.reading = pick_reading([self.raw(image) for image in torch.split(probes, 1)])


def read(path: Path, kind: str, preprocessing: Preprocessing) -> Checkpoint:
    """Load a program and run it to learn its number of classes.

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
    if program.dtype == torch.uint8:
        # It normalises by itself.
        preprocessing = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), preprocessing.size)
    size = program.fixed_size or preprocessing.size
    height, width = size or _PROBE
    try:
        with torch.inference_mode():
            program.learn_output(_probes((height, width)))
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint {path}: {kind} file: {error}") from error
    except Exception as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise ConfigurationError(
            f"checkpoint {path}: the {kind} network fails on a (1, 3, {height}, {width}) image "
            f"({reason}); if it takes images of one size only, name it with --input-size "
            "(parameter input_size)"
        ) from error
    assert program.reading is not None  # noqa: S101  (just learned)
    return Checkpoint(
        network=program.eval(),
        family=kind,
        num_classes=program.reading.num_classes,
        output_stride=0,
        preprocessing=Preprocessing(preprocessing.mean, preprocessing.std, size)
        if program.fixed_size
        else preprocessing,
        label_map=None,
        path=path,
        extra_files=tuple(getattr(program.run, "extra_files", ())),
    )


def _probes(size: tuple[int, int]) -> Tensor:
    """Return (3, 3, H, W) images in 0..1: black, white, and one with areas and noise."""
    image = torch.from_numpy(make_probe(size)).permute(2, 0, 1)[None].float() / _LEVELS
    return torch.cat((torch.zeros_like(image), torch.ones_like(image), image))


def _read_torchscript(path: Path) -> Program:
    with warnings.catch_warnings():
        # Deprecated for new exports; the files that exist still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    module.eval()
    return Program(module, module, dtype=_weights_dtype(module))


def _weights_dtype(module: nn.Module) -> torch.dtype:
    """Return the type of a network's first floating-point weights, float32 without any."""
    tensors = (*module.parameters(), *module.buffers())
    return next((each.dtype for each in tensors if each.is_floating_point()), torch.float32)


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
    return Program(module, module, fixed, images.dtype)


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


def _read_onnx(path: Path) -> Program:
    session = OnnxSession(path)
    return Program(session, None, session.fixed_size, session.dtype)


READERS: dict[str, Callable[[Path], Program]] = {
    "TorchScript": _read_torchscript,
    "torch.export": _read_export,
    "ONNX": _read_onnx,
}
