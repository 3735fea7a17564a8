"""Files of programs by format: what they take, and how to open them on a device."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.export_file import load_export
from deeplab_miou.model.checkpoints.onnx_file import OnnxSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Forward = Callable[[Tensor], Any]

CHANNELS = 3
_CPU = torch.device("cpu")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_DIMENSIONS = 4


@dataclass(frozen=True)
class ProgramFile:
    """A program's file, opened.

    Attributes:
        open_on: returns what maps images to whatever the program puts out, on a device.
        dtypes: of the images that it may want, the likeliest first; uint8 for pixels as they are.
        shape: of the images that it takes; None for what is free or not known.
    """

    open_on: Callable[[torch.device], Forward]
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    shape: tuple[int | None, ...] = (None, None, None, None)

    @property
    def channels_last(self) -> bool:
        """Whether it takes ``(N, H, W, 3)``."""
        return self.shape[3] == CHANNELS and self.shape[1] != CHANNELS

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) that it is bound to; None for any."""
        height, width = self.shape[1:3] if self.channels_last else self.shape[2:]
        return (height, width) if height is not None and width is not None else None

    def check(self) -> None:
        """Check that it takes one image of three channels.

        Raises:
            ConfigurationError: it does not.
        """
        planar = len(self.shape) == _DIMENSIONS and self.shape[0] in (None, 1)
        if not planar or self.shape[3 if self.channels_last else 1] not in (None, CHANNELS):
            raise ConfigurationError(
                f"it takes images of shape {self.shape}, expected (1, 3, height, width); export "
                "it for one RGB image"
            )


def _read_torchscript(path: Path) -> ProgramFile:
    module = _open_torchscript(path, _CPU)
    floats = [p.dtype for p in module.parameters() if p.is_floating_point()]
    # A frozen program has no parameters left that would tell.
    likely = dict.fromkeys([*floats[:1], *_DTYPES])
    return ProgramFile(functools.partial(_open_torchscript, path), tuple(likely))


def _open_torchscript(path: Path, device: torch.device) -> nn.Module:
    with warnings.catch_warnings():
        # Deprecated for new exports; the files that exist still have to be read.
        warnings.simplefilter("ignore", DeprecationWarning)
        module: Any = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    # A trace has the device that it was made on in its code, which loading leaves as it is.
    # Lists of layers, and what a trace never called, have no code of their own.
    for part in (each for each in module.modules() if hasattr(each, "forward")):
        for node in part.graph.findAllNodes("prim::Constant", recurse=True):
            if node.output().type().kind() == "DeviceObjType" and node.hasAttribute("value"):
                node.s_("value", str(device))
    opened: nn.Module = module.eval()
    return opened


def _read_export(path: Path) -> ProgramFile:
    exported = load_export(path)
    names = exported.graph_signature.user_inputs
    if len(names) != 1:
        raise ConfigurationError(
            f"checkpoint {path}: the program has {len(names)} inputs, expected one, the image"
        )
    images = next(
        node.meta["val"]
        for node in exported.graph.nodes
        if node.op == "placeholder" and node.name == names[0]
    )
    shape = tuple(side if isinstance(side, int) else None for side in images.shape)

    def open_on(device: torch.device) -> nn.Module:
        return move_to_device_pass(exported, device).module()

    return ProgramFile(open_on, (images.dtype,), shape)


def _read_onnx(path: Path) -> ProgramFile:
    session = OnnxSession(path)
    return ProgramFile(lambda _device: session, (session.dtype,), session.shape)


READERS: dict[str, Callable[[Path], ProgramFile]] = {
    "TorchScript": _read_torchscript,
    "torch.export": _read_export,
    "ONNX": _read_onnx,
}
