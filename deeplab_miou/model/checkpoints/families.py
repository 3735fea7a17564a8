"""The families of DeepLabv3+ checkpoints: recognised by their keys, rebuilt as our network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.family import (
    bubbliiiing,
    detectron2,
    hugging_face,
    jfzhang,
    mmseg,
    smp,
    torchvision,
    vainf,
)
from deeplab_miou.model.checkpoints.family.reading import enumerate_keys
from deeplab_miou.model.network.architecture import OUTPUT_STRIDES, Architecture
from deeplab_miou.model.network.deeplab import DeepLabV3Plus, fill, skeleton

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.base import Family
    from deeplab_miou.model.checkpoints.family.naming import Layout


def recognize(keys: Sequence[str], origin: str) -> Family:
    """Return the family that a file's keys belong to.

    Args:
        keys: names of the weights, prefixes of wrappers removed.
        origin: the file, for errors.

    Raises:
        ConfigurationError: they belong to no family or to several.
    """
    found = [family for family in FAMILIES if any(key.startswith(family.signature) for key in keys)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(family.name for family in FAMILIES)
    what = "of several families (" + ", ".join(f.name for f in found) + ")" if found else "unknown"
    raise ConfigurationError(
        f"checkpoint {origin}: its keys are {what}: {enumerate_keys(keys)}; known DeepLabv3+ "
        f"families: {known}; export any other network as TorchScript or ONNX"
    )


def rebuild(
    family: Family,
    tensors: Mapping[str, Tensor],
    origin: str,
    overrides: Mapping[str, object],
) -> DeepLabV3Plus:
    """Return our network with a file's weights.

    Args:
        family: what the file is.
        tensors: its weights.
        origin: the file, for errors.
        overrides: fields of `Architecture` that the caller knows better; ``output_stride`` also
            decides the defaults of others.

    Raises:
        ConfigurationError: backbone or channels that no known network has, or weights missing,
            unexpected or misshapen.
    """
    stride = overrides.get("output_stride", family.output_stride)
    if stride not in OUTPUT_STRIDES:
        raise ConfigurationError(
            f"checkpoint {origin}: output_stride is {stride!r}, expected 8 or 16"
        )
    try:
        architecture = family.describe(tensors, stride)
    except KeyError as error:
        raise ConfigurationError(
            f"checkpoint {origin}: of the {family.name} family, but incomplete: {error.args[0]} is "
            f"missing; it has {enumerate_keys(list(tensors))}"
        ) from error
    except ConfigurationError as error:
        raise ConfigurationError(f"checkpoint {origin}: {family.name} family: {error}") from error
    architecture = override(architecture, overrides, origin)
    network = skeleton(architecture)
    own = network.state_dict()
    names = _foreign_names(list(own), family.layout(architecture))
    tensors = _folded(tensors, names)
    check_names_and_shapes(
        {names[key]: tuple(value.shape) for key, value in own.items() if key in names},
        {
            key: tuple(value.shape)
            for key, value in tensors.items()
            if not key.endswith("num_batches_tracked") and not key.startswith(family.ignored)
        },
        origin,
    )
    fill(network, {key: tensors[name] for key, name in names.items()})
    return network


def override(
    architecture: Architecture, overrides: Mapping[str, object], origin: str
) -> Architecture:
    """Return the architecture with some fields replaced.

    Raises:
        ConfigurationError: a field is unknown or out of its range.
    """
    if not overrides:
        return architecture
    return Architecture.from_dict(architecture.to_dict() | dict(overrides), origin)


def check_names_and_shapes(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], origin: str
) -> None:
    """Compare the names and shapes of weights.

    Raises:
        ConfigurationError: names the first ten missing, unexpected and misshapen keys.
    """
    wrong = [
        f"{key} {given[key]} instead of {shape}"
        for key, shape in expected.items()
        if key in given and given[key] != shape
    ]
    complaints = {
        "missing": [key for key in expected if key not in given],
        "unexpected": [key for key in given if key not in expected],
        "of another shape": wrong,
    }
    if any(complaints.values()):
        listed = "; ".join(f"{what}: {enumerate_keys(k)}" for what, k in complaints.items() if k)
        raise ConfigurationError(
            f"checkpoint {origin}: the weights do not fit the network: {listed}"
        )


def _foreign_names(own: Sequence[str], layout: Layout) -> dict[str, str]:
    """Map the names of our weights to those in the file."""
    names = {}
    for key in own:
        layer, _, leaf = key.rpartition(".")
        if leaf != "num_batches_tracked":
            names[key] = f"{layout[layer]}.{leaf}"
    return names


def _folded(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> Mapping[str, Tensor]:
    """Return the weights without the biases that a norm follows.

    A norm subtracts its running mean: one that is less by the bias does what both did.
    """
    folded = dict(tensors)
    for key, name in names.items():
        bias = f"{name.rpartition('.')[0]}.bias"
        mean = names.get(f"{key.removesuffix('conv.weight')}norm.running_mean", "")
        if (
            key.endswith(".conv.weight")
            and bias in folded
            and mean in folded
            and folded[bias].shape == folded[mean].shape
        ):
            folded[mean] = folded[mean] - folded.pop(bias)
    return folded


FAMILIES = (
    vainf.FAMILY,
    *smp.FAMILIES,
    mmseg.FAMILY,
    jfzhang.FAMILY,
    detectron2.FAMILY,
    bubbliiiing.FAMILY,
    hugging_face.FAMILY,
    torchvision.FAMILY,
    vainf.FAMILY_V3,
)
