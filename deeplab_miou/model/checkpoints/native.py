"""Our own checkpoint format: safetensors with everything needed to use the weights."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import safetensors
import safetensors.torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.model.checkpoints.checkpoint import Checkpoint, Preprocessing, check_label_map
from deeplab_miou.model.checkpoints.families import check_names_and_shapes, override
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import DeepLabV3Plus, fill, skeleton

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FAMILY = "deeplab_miou"
_FORMAT = 1
_METADATA = "deeplab_miou"


def save(
    path: str | Path,
    network: DeepLabV3Plus,
    *,
    label_map: LabelMap | None,
    preprocessing: Preprocessing,
    provenance: Mapping[str, object],
) -> None:
    """Write a network and all that is needed to use it into one safetensors file.

    The file appears whole or not at all; the same inputs give the same bytes.

    Args:
        path: the file, conventionally ``*.safetensors``.
        network: the network; its weights are written as float32.
        label_map: what its classes mean.
        preprocessing: what its images need.
        provenance: facts on the training, JSON types only.

    Raises:
        ConfigurationError: the label map has another number of classes than the network.
    """
    path = Path(path)
    # One channel tells two classes apart.
    check_label_map(label_map, max(network.architecture.num_classes, 2), path)
    facts = {
        "format": _FORMAT,
        "architecture": network.architecture.to_dict(),
        "preprocessing": preprocessing.to_dict(),
        "label_map": None if label_map is None else label_map.to_dict(),
        "provenance": dict(provenance),
    }
    # One entry, because safetensors writes several in an order that changes from run to run.
    metadata = {_METADATA: json.dumps(facts)}
    tensors = {key: _plain(value) for key, value in network.state_dict().items() if _kept(key)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=path.name, suffix=".part") as folder:
        part = Path(folder) / path.name
        # The permissions of a file made in the ordinary way; safetensors would leave 0600.
        part.touch()
        mode = part.stat().st_mode
        safetensors.torch.save_file(tensors, part, metadata)
        part.chmod(mode)
        part.replace(path)


def read(path: Path, overrides: Mapping[str, object]) -> Checkpoint | dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        path: the file.
        overrides: fields of `Architecture` that the caller knows better.

    Returns:
        The checkpoint that `save` wrote, its digest left open; bare weights where the metadata
        is not ours.

    Raises:
        ConfigurationError: the file is damaged or does not fit.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
    except (safetensors.SafetensorError, OSError) as error:
        raise ConfigurationError(
            f"checkpoint {path}: not a readable safetensors file ({error})"
        ) from error
    if _METADATA not in metadata:
        return tensors
    facts = _facts(metadata, path)
    stored = Architecture.from_dict(_section(facts, "architecture", path), str(path))
    architecture = override(stored, overrides, str(path))
    network = skeleton(architecture)
    own = {key: value for key, value in network.state_dict().items() if _kept(key)}
    check_names_and_shapes(_shapes(own), _shapes(tensors), str(path))
    fill(network, {key: tensors[key] for key in own})
    label_map = None
    if facts.get("label_map") is not None:
        label_map = LabelMap.from_dict(
            _section(facts, "label_map", path), f"checkpoint {path}: label map"
        )
    return Checkpoint(
        network=network,
        family=FAMILY,
        num_classes=architecture.num_classes,
        output_stride=architecture.output_stride,
        preprocessing=Preprocessing.from_dict(_section(facts, "preprocessing", path), str(path)),
        label_map=label_map,
        provenance=MappingProxyType(_section(facts, "provenance", path)),
        path=path,
    )


def _facts(metadata: Mapping[str, str], path: Path) -> dict[str, object]:
    try:
        facts = json.loads(metadata.get(_METADATA, "{}"))
    except (ValueError, RecursionError) as error:
        # Also numbers of too many digits, and brackets in brackets without end.
        raise ConfigurationError(
            f"checkpoint {path}: its metadata is not readable JSON ({error})"
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise ConfigurationError(
            f"checkpoint {path}: its format is not {_FORMAT}, the only one that this version "
            "reads; update the package"
        )
    return facts


def _section(facts: Mapping[str, object], key: str, path: Path) -> dict[str, object]:
    value = facts.get(key)
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"checkpoint {path}: metadata {key!r} is {value!r:.80}, expected a JSON object"
        )
    return value


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def _kept(key: str) -> bool:
    # The number of batches seen in training plays no part in evaluation.
    return not key.endswith("num_batches_tracked")


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().float().contiguous()
