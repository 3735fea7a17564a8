"""Checkpoints: what a file holds, our own format, and reading whatever a training left behind."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import safetensors
import safetensors.torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.labels import LabelMap
from deeplab_miou.model.architecture import Architecture
from deeplab_miou.model.network import DeepLabV3Plus, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

FAMILY = "deeplab_miou"
_FORMAT = 1
_METADATA = "deeplab_miou"
_SHOWN_KEYS = 10
_CHUNK = 1 << 20

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an RGB image in 0..1 before the network sees it.

    Attributes:
        mean: subtracted from each channel.
        std: then divides each channel.
        size: (height, width) that the image is resized to bilinearly; None leaves it as it is.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    size: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain types for JSON."""
        return {"mean": list(self.mean), "std": list(self.std), "size": self.size}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object], source: str) -> Preprocessing:
        """Return the record that `to_dict` wrote.

        Raises:
            ConfigurationError: a value is missing or of another form; names `source`.
        """
        mean, std, size = (mapping.get(key) for key in ("mean", "std", "size"))
        if not _numbers(mean, 3) or not _numbers(std, 3) or 0 in std:  # type: ignore[operator]
            raise ConfigurationError(
                f"{source}: preprocessing has mean {mean!r} and std {std!r}, "
                "expected three numbers each, std not 0"
            )
        if size is not None and not (_numbers(size, 2) and min(size) >= 1):  # type: ignore[call-overload]
            raise ConfigurationError(
                f"{source}: preprocessing size is {size!r}, expected [height, width] or null"
            )
        return cls(
            mean=tuple(mean),  # type: ignore[arg-type]
            std=tuple(std),  # type: ignore[arg-type]
            size=None if size is None else tuple(size),  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class Checkpoint:
    """A network that is ready to run, and all that is known of it.

    Attributes:
        network: normalised float32 RGB ``(N, 3, H, W)`` to logits ``(N, n, H, W)``.
        family: which layout the file had (`FAMILY` for our own).
        num_classes: channels of the logits.
        output_stride: input pixels per pixel of the deepest features; 0 when it is unknown.
        preprocessing: what the images need.
        label_map: what the classes mean, where the file or the caller said so.
        provenance: free facts on the training, as written into the file.
        path: the file.
        digest: sha256 of the file, hexadecimal.
    """

    network: nn.Module
    family: str
    num_classes: int
    output_stride: int
    preprocessing: Preprocessing
    label_map: LabelMap | None
    provenance: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    path: Path = Path()
    digest: str = ""


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
    _check_label_map(label_map, network.architecture.num_classes, path)
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
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        safetensors.torch.save_file(tensors, temporary, metadata)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    label_map: LabelMap | None = None,
) -> Checkpoint:
    """Read a checkpoint; one log line says what was found.

    Args:
        path: the file.
        preprocessing: replaces what the file or its family says.
        label_map: replaces what the file says.

    Returns:
        The network in evaluation mode on the CPU, float32, and what is known of it.

    Raises:
        ConfigurationError: there is no such file, or it cannot be used; the message says why.
    """
    path = Path(path)
    digest = file_digest(path)
    checkpoint = _load_native(path, digest, preprocessing, label_map)
    _logger.info(
        "%s: %s checkpoint, %d classes, output stride %d",
        path,
        checkpoint.family,
        checkpoint.num_classes,
        checkpoint.output_stride,
    )
    return checkpoint


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise ConfigurationError(
            f"checkpoint {path}: cannot be read ({error.strerror}); give the path of a file"
        ) from error
    return sha.hexdigest()


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a network; every key and shape has to fit.

    Args:
        network: what receives them.
        tensors: weights under the network's own names.
        source: what they were read from, for errors.

    Raises:
        ConfigurationError: names the first ten missing, unexpected and misshapen keys.
    """
    own = {key: value for key, value in network.state_dict().items() if _kept(key)}
    given = {key: value for key, value in tensors.items() if _kept(key)}
    wrong = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    complaints = [
        _enumerate("missing", [key for key in own if key not in given]),
        _enumerate("unexpected", [key for key in given if key not in own]),
        _enumerate("of another shape", wrong),
    ]
    if any(complaints):
        raise ConfigurationError(
            f"checkpoint {source}: the weights do not fit the network: "
            + "; ".join(filter(None, complaints))
        )
    network.load_state_dict({key: value.float() for key, value in given.items()}, strict=False)


def _load_native(
    path: Path, digest: str, preprocessing: Preprocessing | None, label_map: LabelMap | None
) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict
    except (safetensors.SafetensorError, OSError) as error:
        raise ConfigurationError(
            f"checkpoint {path}: no readable safetensors file ({error})"
        ) from error
    facts = _facts(metadata, path)
    architecture = Architecture.from_dict(_section(facts, "architecture", path), str(path))
    network = build(architecture)
    load_weights(network, tensors, str(path))
    if label_map is None and facts.get("label_map") is not None:
        stored = _section(facts, "label_map", path)
        label_map = LabelMap.from_dict(stored, f"{path}: label map")
    _check_label_map(label_map, architecture.num_classes, path)
    return Checkpoint(
        network=network,
        family=FAMILY,
        num_classes=architecture.num_classes,
        output_stride=architecture.output_stride,
        preprocessing=preprocessing
        or Preprocessing.from_dict(_section(facts, "preprocessing", path), str(path)),
        label_map=label_map,
        provenance=MappingProxyType(_section(facts, "provenance", path)),
        path=path,
        digest=digest,
    )


def _facts(metadata: Mapping[str, str], path: Path) -> dict[str, object]:
    try:
        facts = json.loads(metadata.get(_METADATA, "{}"))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"checkpoint {path}: its metadata is no JSON ({error})") from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise ConfigurationError(
            f"checkpoint {path}: a safetensors file without the metadata that "
            "`deeplab-miou convert` writes; convert the original file"
        )
    return facts


def _section(facts: Mapping[str, object], key: str, path: Path) -> dict[str, object]:
    value = facts.get(key)
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"checkpoint {path}: metadata {key!r} is {value!r}, expected a JSON object"
        )
    return value


def _check_label_map(label_map: LabelMap | None, num_classes: int, path: Path) -> None:
    if label_map is not None and label_map.num_classes != num_classes:
        raise ConfigurationError(
            f"checkpoint {path}: the network has {num_classes} classes, label map "
            f"{label_map.name!r} has {label_map.num_classes}; give the map it was trained with"
        )


def _enumerate(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = ", ..." if len(keys) > _SHOWN_KEYS else ""
    return f"{len(keys)} {what} ({', '.join(keys[:_SHOWN_KEYS])}{more})"


def _kept(key: str) -> bool:
    # The number of batches seen in training plays no part in evaluation.
    return not key.endswith("num_batches_tracked")


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().float().contiguous()


def _numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == count
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    )
