"""Loads checkpoints of any supported kind into one record, and writes our own format.

A file is recognised by its content, never by its name: some ``.pth.tar`` files are not archives.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints import families, native, program_files, programs, sets
from deeplab_miou.model.checkpoints import weights as files
from deeplab_miou.model.checkpoints.checkpoint import Checkpoint, Preprocessing, check_label_map
from deeplab_miou.model.checkpoints.native import save
from deeplab_miou.model.checkpoints.onnx_file import external_files
from deeplab_miou.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.model.checkpoints.checkpoint import ChannelOrder
    from deeplab_miou.options.scoring import CheckpointOptions

__all__ = ["Checkpoint", "Preprocessing", "describe", "file_digest", "load", "load_as", "save"]

_CHUNK = 1 << 20
_WHAT = {
    "logits": "{} classes",
    "probabilities": "{} classes, as probabilities",
    "one logit": "2 classes by one logit, the second where it is above 0",
    "one probability": "2 classes by one probability, the second where it is above 0.5",
    "label map": "label maps (the argmax is part of the program)",
}

_logger = logging.getLogger(__name__)


def load(
    path: str | Path,
    *,
    weights: str = "",
    output_stride: int | None = None,
    atrous_rates: tuple[int, int, int] | None = None,
    architecture: Mapping[str, object] | None = None,
    input_size: tuple[int, int] | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    channel_order: ChannelOrder | None = None,
    label_map: LabelMap | None = None,
) -> Checkpoint:
    """Read a checkpoint; one log line says what was found.

    Files of the known DeepLabv3+ families (`families.FAMILIES`) become our own network. Files
    that hold a program (TorchScript, torch.export, ONNX) run as they are.

    Args:
        path: the file.
        weights: name of the set of weights where the file holds several; empty for the first of
            the usual ones.
        atrous_rates: dilations of the ASPP's branches, where the file does not know them.
        output_stride: 8 or 16, where the file does not know it; None for the family's default.
        architecture: further fields of `Architecture` that the file does not know, such as
            ``multi_grid`` or ``align_corners``.
        input_size: (height, width) that images are resized to, in place of what the file says.
        mean: subtracted from RGB in 0..1, in place of what the file or its family says.
        std: then divides it, likewise.
        channel_order: ``rgb`` or ``bgr``, what the network was trained on, in place of what the
            file says.
        label_map: replaces what the file says.

    Returns:
        The network in evaluation mode on the CPU, float32, and what is known of it.

    Raises:
        ConfigurationError: there is no such file, or it cannot be used; the message says why.
    """
    path = Path(path)
    digest = file_digest(path)

    def fitted(preprocessing: Preprocessing) -> Preprocessing:
        return preprocessing.replace(
            size=input_size, mean=mean, std=std, channel_order=channel_order
        )

    overrides = dict(architecture or {})
    if output_stride is not None:
        overrides["output_stride"] = output_stride
    if atrous_rates is not None:
        overrides["atrous_rates"] = tuple(atrous_rates)
    kind = files.sniff(path)
    if is_program(kind):
        unusable = [*overrides, *(["weights"] if weights else [])]
        if unusable:
            raise ConfigurationError(
                f"checkpoint {path}: a {kind} file is a finished program: "
                f"{unusable[0]} cannot be set"
            )
        if kind == "ONNX":
            digest = _digest_with_data(path, digest)
        checkpoint = programs.read(
            path, kind, fitted(Preprocessing()), normalises=bool(mean or std)
        )
    else:
        found = native.read(path, overrides) if kind == "safetensors" else files.read(path, kind)
        if not isinstance(found, Checkpoint):
            checkpoint = _rebuild(path, found, weights, overrides)
        elif weights:
            raise ConfigurationError(
                f"checkpoint {path}: weights is {weights!r}, but the file has only one set; leave "
                "it empty"
            )
        else:
            checkpoint = found
        checkpoint = dataclasses.replace(checkpoint, preprocessing=fitted(checkpoint.preprocessing))
    if checkpoint.num_classes == 1:
        output = "one logit" if checkpoint.output == "logits" else checkpoint.output
        checkpoint = dataclasses.replace(checkpoint, num_classes=2, output=output)
    checkpoint = dataclasses.replace(
        checkpoint,
        label_map=label_map or checkpoint.label_map,
        digest=digest,
    )
    check_label_map(checkpoint.label_map, checkpoint.num_classes, path)
    _check_numbers(checkpoint)
    _logger.info("%s", printable(describe(checkpoint)))
    return checkpoint


def load_as(
    path: str | Path, options: CheckpointOptions, label_map: LabelMap | None = None
) -> Checkpoint:
    """Read a checkpoint as the user's options say; see `load`.

    Raises:
        ConfigurationError: there is no such file, or it cannot be used; the message says why.
    """
    return load(
        path,
        weights=options.weights,
        output_stride=options.output_stride or None,
        atrous_rates=options.atrous_rates,
        input_size=options.input_size,
        mean=options.mean,
        std=options.std,
        channel_order=None if options.channel_order == "auto" else options.channel_order,
        label_map=label_map,
    )


def _check_numbers(checkpoint: Checkpoint) -> None:
    """Refuse weights that are NaN, as left by a training that diverged."""
    for name, tensor in checkpoint.network.state_dict().items():
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            count = int(tensor.isnan().sum())
            raise ConfigurationError(
                f"checkpoint {checkpoint.path}: {count} of the {tensor.numel()} values of {name} "
                "are NaN (not a number): the training diverged; use an earlier checkpoint"
            )


def is_program(kind: str) -> bool:
    """Return whether files of a kind (`weights.sniff`) say what is computed: code that runs."""
    return kind in program_files.READERS


def atrous_rates(checkpoint: Checkpoint) -> list[int] | None:
    """Return the dilations of a network's ASPP; None of a program, which does not say."""
    architecture = getattr(checkpoint.network, "architecture", None)
    return None if architecture is None else list(architecture.atrous_rates)


def describe(checkpoint: Checkpoint) -> str:
    """Return one line that describes how a file is used."""
    architecture = getattr(checkpoint.network, "architecture", None)
    details = (
        ""
        if architecture is None
        else (
            f", {architecture.backbone}, output stride {architecture.output_stride}, "
            f"atrous rates {architecture.atrous_rates or 'none'}, "
            f"align_corners {architecture.align_corners}"
        )
    )
    labels = "none" if checkpoint.label_map is None else checkpoint.label_map.name
    classes = _WHAT[checkpoint.output].format(checkpoint.num_classes)
    return (
        f"checkpoint {checkpoint.path}: {checkpoint.family}, {classes}{details}, label map {labels}"
    )


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


def _digest_with_data(path: Path, digest: str) -> str:
    """Return the digest of an ONNX file and of its external weights."""
    files = external_files(path)
    if not files:
        return digest
    sha = hashlib.sha256(digest.encode())
    for file in files:
        sha.update(f"{file.relative_to(path.parent)}:{file_digest(file)}".encode())
    return sha.hexdigest()


def _rebuild(
    path: Path, content: object, wanted: str, overrides: Mapping[str, object]
) -> Checkpoint:
    found = sets.choose(content, wanted, str(path))
    family = families.recognize(list(found.weights), str(path))
    stated = family.stated(path, found.weights)
    wanted_architecture = {**stated.architecture, **overrides}
    network = families.rebuild(family, found.weights, str(path), wanted_architecture)
    preprocessing = stated.preprocessing or family.preprocessing
    return Checkpoint(
        network=network,
        family=family.name,
        num_classes=network.architecture.num_classes,
        output_stride=network.architecture.output_stride,
        preprocessing=sets.normalisation(found, preprocessing, str(path)),
        label_map=None,
        path=path,
        weights=found.name,
    )
