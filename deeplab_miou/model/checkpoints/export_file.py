"""Archives of torch.export: read without unpickling what could run code, and onto the CPU."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.weights import is_plain_tensor_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch.export import ExportedProgram

_CUDA = b'"cuda"'
_COMPILED, _PROGRAMS = "/data/aotinductor/", "/models/"


def load_export(path: Path) -> ExportedProgram:
    """Read a .pt2 archive; its tensors and steps are on the CPU.

    Raises:
        ConfigurationError: it holds pickled objects, or compiled code in place of a program.
    """
    _refuse_compiled(path)
    _refuse_pickles(path)
    return torch.export.load(_on_cpu(path))


def _refuse_compiled(path: Path) -> None:
    """Raise if a .pt2 archive is a package of AOTInductor."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(_COMPILED in n for n in names) and not any(_PROGRAMS in n for n in names):
        raise ConfigurationError(
            f"checkpoint {path} holds code that AOTInductor compiled, which runs only on the kind "
            "of machine it was made for: export the network with torch.export.save"
        )


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


def _on_cpu(path: Path) -> Path | io.BytesIO:
    """Return a .pt2 archive whose tensors and steps are on the CPU, whatever it was saved on.

    `torch.export.load` has no ``map_location``, and fails where the device of a file is missing.
    """
    with zipfile.ZipFile(path) as archive:
        if not any(_CUDA in archive.read(n) for n in archive.namelist() if n.endswith(".json")):
            return path
        moved = io.BytesIO()
        with zipfile.ZipFile(moved, "w") as target:
            for name in archive.namelist():
                content = archive.read(name)
                if name.endswith(".json"):
                    content = json.dumps(_without_gpus(json.loads(content))).encode()
                elif name.endswith(".pt"):
                    content = _saved_on_cpu(content)
                target.writestr(name, content)
    moved.seek(0)
    return moved


def _without_gpus(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_without_gpus(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "cuda" and set(value) == {"type", "index"}:
        return {"type": "cpu", "index": None}
    return {key: _without_gpus(each) for key, each in value.items()}


def _saved_on_cpu(content: bytes) -> bytes:
    """Return a file of tensors, which `is_plain_tensor_file` has found it to be, on the CPU."""
    saved = io.BytesIO()
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    torch.save(tensors, saved)
    return saved.getvalue()
