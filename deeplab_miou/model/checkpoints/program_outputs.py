"""What a foreign network puts out, read as logits or as labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIMENSIONS = 4
_KEYS = ("out", "logits")
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Reading:
    """How a program's output is read.

    Attributes:
        place: which of its outputs counts.
        num_classes: classes of it; 0 where it puts out labels.
        is_binary: one channel says how much each pixel belongs to the second of two classes.
        threshold: above it a pixel of a binary network belongs to the second class: 0 for logits,
            one half for probabilities.
    """

    place: int
    num_classes: int
    is_binary: bool = False
    threshold: float = 0.0

    def __call__(self, output: object) -> Tensor:
        """Return logits ``(1, n, h, w)`` float32, or labels ``(1, 1, h, w)`` of integers.

        Raises:
            RuntimeError: the output is not what it was at first.
        """
        tensors = _tensors(output)
        if self.place >= len(tensors):
            raise RuntimeError(f"the program has {len(tensors)} outputs, at first it had more")
        tensor = tensors[self.place]
        if self.num_classes == 0:
            return tensor.reshape(1, 1, *tensor.shape[-2:])
        tensor = tensor.float()
        if not self.is_binary:
            return tensor
        if self.threshold and not _in_unit_interval(tensor):
            raise RuntimeError(
                "a network of one channel whose outputs were probabilities has put out "
                f"{float(tensor.min()):g} to {float(tensor.max()):g}"
            )
        second = tensor - self.threshold
        return torch.cat((torch.zeros_like(second), second), dim=1)


def pick_reading(outputs: Sequence[object]) -> Reading:
    """Find logits, or else labels, in what a program put out for some images.

    Args:
        outputs: of each image: a tensor, these in a tuple or list, or in a dictionary, where
            ``out`` and ``logits`` come first.

    Raises:
        ConfigurationError: there is nothing that can be either, or it is not finite.
    """
    columns = list(zip(*map(_tensors, outputs), strict=True))
    for place, tensors in enumerate(columns):
        first = tensors[0]
        if not first.is_floating_point() or first.ndim != _DIMENSIONS or len(first) != 1:
            continue
        if not all(bool(each.amax(1).isfinite().all()) for each in tensors):
            raise ConfigurationError(
                "its output is not finite (NaN or infinity), so that it predicts nothing; the "
                "training may have diverged"
            )
        if first.shape[1] > 1:
            return Reading(place, first.shape[1])
        # A logit that stays in 0..1 for black, white and noise alike is none.
        threshold = 0.5 if all(map(_in_unit_interval, tensors)) else 0.0
        return Reading(place, num_classes=2, is_binary=True, threshold=threshold)
    for place, tensors in enumerate(columns):
        shape = tuple(tensors[0].shape)
        if tensors[0].dtype in _INTEGERS and len(shape) >= 2 and set(shape[:-2]) <= {1}:  # noqa: PLR2004
            return Reading(place, num_classes=0)
    found = ", ".join(f"{each.dtype} {tuple(each.shape)}" for each in _tensors(outputs[0]))
    raise ConfigurationError(
        f"its output is {found or type(outputs[0]).__name__}, expected logits (1, classes, height, "
        "width) or integer labels (1, height, width)"
    )


def _tensors(output: object) -> list[Tensor]:
    """Return the tensors of an output, the likeliest logits of a dictionary first."""
    if isinstance(output, dict):
        keys = sorted(output, key=lambda key: key not in _KEYS)
        output = [output[key] for key in keys]
    elif hasattr(output, "logits"):
        output = output.logits
    given = output if isinstance(output, (tuple, list)) else [output]
    return [each for each in given if isinstance(each, Tensor)]


def _in_unit_interval(tensor: Tensor) -> bool:
    return bool(((tensor >= 0) & (tensor <= 1)).all())
