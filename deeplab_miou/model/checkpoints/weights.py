"""Reading foreign weight files: what kind they are, and their tensors, never their code.

Pickles can run code when read. PyTorch files are read with ``weights_only``, Detectron2's with an
unpickler that knows NumPy arrays and nothing else; a file that needs more is refused.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.checkpoint import Preprocessing
from deeplab_miou.model.checkpoints.family.reading import enumerate_keys

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["safetensors", "pytorch", "pickle", "TorchScript", "torch.export", "ONNX"]

# What `torch.save` wrote before it wrote archives: a pickled number.
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_EXPORT_MEMBERS = ("archive_format", "serialized_exported_program.json")
_HEAD = 32
_SAFETENSORS_LENGTH = 8
# Where trainings put the weights, in the order of preference.
_CONTAINERS = ("model_state", "state_dict", "model_state_dict", "model")
# What wrappers put before each name: DataParallel, torch.compile, Lightning modules.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_LOSSES = ("loss", "criterion")
_CORES = ("numpy.core", "numpy._core")


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


def read(path: Path, kind: Kind) -> dict[str, Tensor]:
    """Return all tensors of a PyTorch checkpoint or of a Detectron2 pickle by name.

    Raises:
        ConfigurationError: the file is damaged, holds no weights, or needs more than NumPy.
    """
    content = _read_pickle(path) if kind == "pickle" else _read_torch(path)
    container, found = content, "the file"
    if isinstance(content, Mapping):
        for name in _CONTAINERS:
            if isinstance(content.get(name), Mapping):
                container, found = content[name], repr(name)
                break
    if not isinstance(container, Mapping):
        raise ConfigurationError(
            f"checkpoint {path}: holds a {type(content).__name__}, expected a dictionary of weights"
        )
    tensors = {}
    for key, value in container.items():
        if isinstance(value, np.ndarray) and value.dtype != object:
            tensors[str(key)] = torch.from_numpy(np.array(value))
        elif isinstance(value, Tensor):
            tensors[str(key)] = value
    if not tensors:
        raise ConfigurationError(
            f"checkpoint {path}: {found} holds no weights; it has "
            f"{enumerate_keys([str(key) for key in container])}"
        )
    return tensors


def unwrap(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], Preprocessing]:
    """Remove what wrappers added to a network's weights.

    Args:
        tensors: all weights of a file.
        source: the file, for errors.

    Returns:
        The network's own weights; ``mean`` and ``std`` where the wrapper kept them as buffers,
        else ImageNet's, which all five families document as their default.

    Raises:
        ConfigurationError: the buffers hold something else than three values each.
    """
    weights = dict(tensors)
    preprocessing = Preprocessing()
    for _ in _PREFIXES:
        # A wrapper's own buffers and loss stand beside the prefixed weights.
        beside = {key: value for key, value in weights.items() if _beside(key)}
        inner = [key for key in weights if key not in beside]
        # Most keys decide: what else a module holds is then named as unexpected.
        prefix = next(
            (p for p in _PREFIXES if 2 * sum(k.startswith(p) for k in inner) > len(inner)), ""
        )
        if not prefix:
            break
        if {"mean", "std"} <= set(beside):
            preprocessing = Preprocessing.from_dict(
                {name: beside[name].flatten().tolist() for name in ("mean", "std")},
                f"checkpoint {source}",
            )
        weights = {key.removeprefix(prefix): weights[key] for key in inner}
    return weights, preprocessing


def _beside(key: str) -> bool:
    return key in ("mean", "std") or key.startswith(_LOSSES)


def _read_torch(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message is a page of advice to trust the file; the name in it is what counts.
        found = re.search(r"(?:GLOBAL|class|type) ([\w.]+\.[\w.]+)", str(error))
        what = f"needs {found[1]}" if found else "is no plain pickle"
        raise ConfigurationError(
            f"checkpoint {path}: {what}, more than weights and NumPy scalars; save the "
            "state_dict alone (mmengine: tools/model_converters/publish_model.py)"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"checkpoint {path}: damaged ({reason})") from error


def _numpy_globals() -> list[Any]:
    """Return the NumPy scalar and dtype classes, by the names of NumPy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "?efd"}
    return [*((scalar, f"{core}.multiarray.scalar") for core in _CORES), np.dtype, *kinds]


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds containers of NumPy arrays and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as inherited
        known = _array_globals().get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return known


def _array_globals() -> dict[tuple[str, str], object]:
    rebuild = np.zeros(0).__reduce__()[0]
    from_buffer = np.zeros(0).__reduce_ex__(5)[0]
    scalar = np.float64(0).__reduce__()[0]
    known: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        # How pickles of Python 2 and of protocols below 3 spell bytes.
        ("_codecs", "encode"): _encode,
    }
    for core in _CORES:
        known[f"{core}.multiarray", "_reconstruct"] = rebuild
        known[f"{core}.multiarray", "scalar"] = scalar
        known[f"{core}.numeric", "_frombuffer"] = from_buffer
    return known


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _read_pickle(path: Path) -> object:
    with path.open("rb") as file:
        try:
            return cast("object", _ArrayUnpickler(file, encoding="latin1").load())
        except pickle.UnpicklingError as error:
            raise ConfigurationError(
                f"checkpoint {path}: needs {error}, more than NumPy arrays; refused, because a "
                "pickle can run code: save its arrays alone"
            ) from error
        except Exception as error:
            # A damaged pickle can raise anything.
            raise ConfigurationError(
                f"checkpoint {path}: a damaged pickle ({type(error).__name__}: {error})"
            ) from error


def is_plain_tensor_file(content: bytes) -> bool:
    """Return whether bytes are a PyTorch file that holds tensors and containers only."""
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return False
    return True
