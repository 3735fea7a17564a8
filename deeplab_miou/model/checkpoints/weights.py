"""Reading foreign weight files: what kind they are, and what they hold, never their code."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import TYPE_CHECKING, Literal

import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.unpickling import load_pickle, load_torch

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["safetensors", "pytorch", "pickle", "TorchScript", "torch.export", "ONNX"]

# What `torch.save` wrote before it wrote archives: a pickled number.
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_EXPORT_MEMBERS = ("archive_format", "serialized_exported_program.json")
_HEAD = 32
_SAFETENSORS_LENGTH = 8
# Compressed weights shrink by a tenth; far more is no weights.
_MOST_UNPACKED = 8
_CHUNK = 1 << 24


def sniff(path: Path) -> Kind:
    """Return what a file is, by its content.

    Raises:
        ConfigurationError: it is nothing that is known.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith(_EXPORT_MEMBERS) for name in names):
            return "torch.export"
        script = any(name.endswith("constants.pkl") for name in names)
        return "TorchScript" if script else "pytorch"
    if head[_SAFETENSORS_LENGTH : _SAFETENSORS_LENGTH + 1] == b"{":
        return "safetensors"
    if head.startswith(b"\x80") and _TORCH_MAGIC in head:
        return "pytorch"
    if head.startswith(b"\x80"):
        return "pickle"
    # An ONNX model begins with field 1 of its protocol buffer, the version of the format.
    if head.startswith(b"\x08") and len(head) == _HEAD:
        return "ONNX"
    if not head:
        raise ConfigurationError(f"checkpoint {path}: is empty; copy or download it again")
    raise ConfigurationError(
        f"checkpoint {path}: begins with {head[:8]!r}; expected safetensors, a PyTorch checkpoint, "
        "a Detectron2 .pkl, TorchScript, torch.export .pt2 or ONNX"
    )


def read(path: Path, kind: Kind) -> object:
    """Return what a PyTorch checkpoint or a plain pickle holds, foreign objects inert.

    Raises:
        ConfigurationError: the file is damaged, or asks for more than it holds.
    """
    if kind == "pytorch":
        _check_unpacked_size(path)
    try:
        return load_pickle(path) if kind == "pickle" else load_torch(path)
    except Exception as error:
        # A damaged pickle can raise anything.
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        raise ConfigurationError(
            f"checkpoint {path}: damaged ({reason}); copy or download it again"
        ) from error


def _check_unpacked_size(path: Path) -> None:
    """Refuse an archive that unpacks to far more than its size, which ``torch.save`` never writes.

    Raises:
        ConfigurationError: it does.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    packed = path.stat().st_size
    if unpacked > _MOST_UNPACKED * packed + _CHUNK:
        raise ConfigurationError(
            f"checkpoint {path}: {packed} bytes that unpack to {unpacked}; torch.save does not "
            "compress: unpack and save it again"
        )


def is_plain_tensor_file(content: bytes) -> bool:
    """Return whether bytes are a PyTorch file that holds tensors and containers only."""
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return False
    return True
