"""Finds the sets of weights in a training's checkpoint, by a family's signature."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints.checkpoint import Preprocessing
from deeplab_miou.model.checkpoints.families import FAMILIES
from deeplab_miou.model.checkpoints.family.reading import enumerate_keys
from deeplab_miou.model.checkpoints.unpickling import Inert, array

if TYPE_CHECKING:
    from collections.abc import Iterator

_logger = logging.getLogger(__name__)

_DEPTH = 4
_MODULE_DEPTH = 64
_MOST = 10_000
# Which is taken where a file holds several: what trainings score, then whatever comes first.
_PREFERRED = ("model_state", "state_dict", "model_state_dict", "model")
# What counts, and weighs nothing: thop.profile's and batch norm's.
_COUNTERS = ("total_ops", "total_params", "num_batches_tracked", "n_averaged")
# What torch.compile puts into the names of the parts that it is given, wherever they are.
_COMPILED = "_orig_mod."
_SHOWN = 60


@dataclass(frozen=True)
class WeightSet:
    """One network's weights.

    Attributes:
        name: where in the file they stand; empty at its top.
        weights: by the family's own names.
        others: what the same dictionary holds under other names.
    """

    name: str
    weights: dict[str, Tensor]
    others: dict[str, Tensor]


def choose(content: object, wanted: str, origin: str) -> WeightSet:
    """Return a network's weights from all that a file holds.

    Args:
        content: what the file holds, foreign objects inert.
        wanted: name of the set of weights; empty for the first of the usual ones.
        origin: the file, for messages.

    Raises:
        ConfigurationError: there are none, or none of that name.
    """
    dictionaries = list(_dictionaries(content, "", 0, set()))
    found = [one for name, tensors in dictionaries for one in _split(name, tensors)]
    if not found:
        # Then no family is known: the largest dictionary says what there is.
        largest = max(
            (WeightSet(name, tensors, {}) for name, tensors in dictionaries),
            key=lambda one: len(one.weights),
            default=None,
        )
        if largest is None:
            raise ConfigurationError(
                f"checkpoint {origin}: holds no weights; it has {_kind(content)}"
            )
        found = [largest]
    names = ", ".join(repr(one.name) for one in found)
    if wanted:
        taken = [one for one in found if one.name == wanted or one.name.startswith(f"{wanted}.")]
        if len(taken) != 1:
            raise ConfigurationError(
                f"checkpoint {origin}: weights is {wanted!r}, expected one of {names}"
            )
        return taken[0]
    first = min(found, key=_rank)
    if len(found) > 1:
        _logger.warning(
            "checkpoint %s: holds %d sets of weights (%s), whose scores differ; using %r (choose "
            "another with weights, or --weights)",
            origin,
            len(found),
            names,
            first.name,
        )
    return first


def normalisation(found: WeightSet, default: Preprocessing, origin: str) -> Preprocessing:
    """Return the mean and standard deviation stored with a network's weights.

    Buffers ``mean`` and ``std`` are in 0..1; Detectron2's ``pixel_mean`` and ``pixel_std`` in
    0..255. Without any they are `default`'s.

    Raises:
        ConfigurationError: they are something else than three values each.
    """
    buffers = found.others | found.weights
    for names, scale in ((("mean", "std"), 1.0), (("pixel_mean", "pixel_std"), 255.0)):
        if all(name in buffers for name in names):
            values = {}
            for key, name in zip(("mean", "std"), names, strict=True):
                tensor = buffers[name]
                if tensor.numel() != 3:  # noqa: PLR2004 - red, green and blue
                    raise ConfigurationError(
                        f"checkpoint {origin}: {name} has {tensor.numel()} values, expected three"
                    )
                values[key] = [_decimal(value) / scale for value in tensor.flatten()]
            return Preprocessing.from_dict(values, f"checkpoint {origin}")
    return default


def _rank(one: WeightSet) -> int:
    top = one.name.partition(".")[0]
    return _PREFERRED.index(top) if top in _PREFERRED else len(_PREFERRED)


def _split(name: str, tensors: dict[str, Tensor]) -> Iterator[WeightSet]:
    """Yield a set of weights for each prefix before a family's signature."""
    prefixes: dict[str, None] = {}
    for key in tensors:
        found = (key.find(family.signature) for family in FAMILIES)
        places = [at for at in found if at == 0 or (at > 0 and key[at - 1] == ".")]
        if places:
            # One family's signature may be the end of another's.
            prefixes[key[: min(places)]] = None
    for prefix in prefixes:
        weights = {
            key[len(prefix) :]: value
            for key, value in tensors.items()
            if key.startswith(prefix) and not key.endswith(_COUNTERS)
        }
        others = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
        where = ".".join(part for part in (name, prefix.rstrip(".")) if part)
        yield WeightSet(where, weights, others)


def _dictionaries(
    content: object, name: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the dictionaries of tensors in nested dictionaries and lists, outer ones first."""
    # The same dictionary may stand in many places.
    if id(content) in seen:
        return
    seen.add(id(content))
    entries = _entries(content)
    tensors = {}
    for key, value in entries.items():
        tensor = _tensor(value)
        if tensor is not None:
            tensors[str(key).replace(_COMPILED, "")] = tensor
    if tensors:
        yield name, tensors
    if depth == _DEPTH or len(entries) > _MOST:
        return
    for key, value in entries.items():
        if isinstance(value, (Mapping, Inert, list, tuple)):
            yield from _dictionaries(value, f"{name}.{key}" if name else str(key), depth + 1, seen)


def _entries(content: object) -> Mapping[object, object]:
    if isinstance(content, Mapping):
        return content
    if isinstance(content, (list, tuple)):
        return dict(enumerate(content))
    if not isinstance(content, Inert):
        return {}
    if "_modules" in content.state:
        return dict(_module_tensors(content, "", 0))
    return content.entries or content.state


def _module_tensors(module: Inert, prefix: str, depth: int) -> Iterator[tuple[str, object]]:
    """Yield what ``state_dict`` of a saved module would, which is never brought to life."""
    for kind in ("_parameters", "_buffers"):
        values = module.state.get(kind)
        if isinstance(values, Mapping):
            yield from ((f"{prefix}{key}", value) for key, value in values.items())
    children = module.state.get("_modules")
    if isinstance(children, Mapping) and depth < _MODULE_DEPTH:
        for key, child in children.items():
            if isinstance(child, Inert):
                yield from _module_tensors(child, f"{prefix}{key}.", depth + 1)


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    values = array(value)
    if values is None:
        return None
    return torch.from_numpy(np.array(values, values.dtype.newbyteorder("=")))


def _decimal(value: Tensor) -> float:
    """Return a number as it was written, 0.1 instead of the float32 0.10000000149."""
    return float(str(np.float32(value.item()) if value.dtype == torch.float32 else value.item()))


def _kind(content: object) -> str:
    if isinstance(content, Mapping):
        return enumerate_keys([str(key)[:_SHOWN] for key in content])
    return f"a {content.name if isinstance(content, Inert) else type(content).__name__}"
