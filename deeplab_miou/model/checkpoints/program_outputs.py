"""What a program's output means: determined once on a probe image, then applied to all.

Programs return tensors, tuples, lists, named tuples or dictionaries; channels first or last; one
channel for a class and its background; or label maps, where the argmax is inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Size = tuple[int, int]

OutputKind = Literal["logits", "probabilities", "one logit", "one probability", "label map"]

# Names that programs give their main output; auxiliary ones have others.
_MAIN = ("out", "logits")
_DIMENSIONS = 4
# How far the sides of an output may be from the image's aspect ratio: coarse maps are rounded.
_ASPECT_TOLERANCE = 0.1
# At most by so much. What is further is no map, such as all pixels in one row.
_MOST_ROUNDED = 2
_NO_CLASS = 255
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Output:
    """Where a program's prediction is in what it returns, and what it is.

    Attributes:
        name: of the tensor, as `tensors` names it.
        kind: ``logits``; ``probabilities``, where softmax or sigmoid is inside; ``one logit`` or
            ``one probability`` of class 1 against class 0; or ``label map``.
        channels: of the logits or probabilities; 1 for a label map.
        others: names of tensors that were left aside and could have been meant.
    """

    name: str
    kind: OutputKind
    channels: int
    others: tuple[str, ...] = ()

    def __call__(self, returned: object, image_size: Size) -> Tensor:
        """Return logits ``(1, n, h, w)`` float32, or a label map ``(1, 1, h, w)`` uint8.

        Several probabilities are as good as logits: the largest wins. Labels that are no id from 0
        to 254 become 255, which is no class.

        Raises:
            RuntimeError: the output is not what it was on the probe.
        """
        found = _as_planes(dict(tensors(returned))[self.name], image_size)
        if found is None or found.shape[1] != self.channels:
            raise RuntimeError(f"output {self.name or 'of the program'} has changed its shape")
        if self.kind == "label map":
            if found.is_floating_point() and not _is_integral(found):
                raise RuntimeError("the output is no longer a label map: it has fractions")
            outside = (found < 0) | (found > _NO_CLASS)
            return found.masked_fill(outside, _NO_CLASS).byte()
        found = found.float()
        if self.kind == "one probability":
            if not _is_probability(found):
                raise RuntimeError("the output is no longer a probability: it is outside 0..1")
            return found - 0.5
        return found


def find_output(returned: object, image_size: Size) -> Output:
    """Find the prediction in what a program returned for a probe image.

    Several channels come before a label map, and that before a single channel; among equals those
    named ``out`` or ``logits`` come first, then the program's order decides.

    Args:
        returned: whatever it was.
        image_size: (H, W) of the probe.

    Raises:
        ConfigurationError: there is none.
    """
    planes = {
        name: found
        for name, tensor in tensors(returned)
        if (found := _as_planes(tensor, image_size)) is not None
        and 1 / _MOST_ROUNDED <= _aspect(found.shape[2:], image_size) <= _MOST_ROUNDED
    }
    if not planes:
        shapes = ", ".join(_shape(tensor) for _, tensor in tensors(returned))
        raise ConfigurationError(
            f"its output is {shapes or type(returned).__name__}, expected logits "
            "(1, classes, height, width) or a label map (1, height, width)"
        )
    ranks = {name: _rank(name, found) for name, found in planes.items()}
    name = min(planes, key=lambda each: ranks[each])
    found = planes[name]
    others = tuple(
        f"{each or 'output'} {_shape(planes[each])}"
        for each in planes
        if each != name and ranks[each][0] == ranks[name][0] and planes[each].shape != found.shape
    )
    return Output(name, _kind(found), found.shape[1], others)


def tensors(returned: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in a program's output by name: keys, fields or places, joined by dots."""
    if isinstance(returned, Tensor):
        yield name, returned
        return
    if isinstance(returned, Mapping):
        parts = [(str(key), value) for key, value in returned.items()]
    elif isinstance(returned, (tuple, list)):
        names = getattr(returned, "_fields", range(len(returned)))
        parts = [(str(key), value) for key, value in zip(names, returned, strict=True)]
    else:
        return
    for key, value in parts:
        yield from tensors(value, f"{name}.{key}" if name else key)


def _as_planes(tensor: Tensor, image_size: Size) -> Tensor | None:
    """Return a tensor as ``(1, channels, h, w)``; None if it is not a map of the image."""
    if tensor.is_complex() or not tensor.numel():
        return None
    if tensor.ndim == 2 and _covers(tensor.shape, image_size):  # noqa: PLR2004 - no batch
        tensor = tensor[None]
    if tensor.ndim == 3:  # noqa: PLR2004 - (1, h, w), or (channels, h, w) without a batch
        tensor = tensor[None] if len(tensor) > 1 else tensor[:, None]
    if tensor.ndim != _DIMENSIONS or len(tensor) != 1:
        return None
    if min(tensor.shape[1:]) < 1 or max(tensor.shape[2:]) == 1:
        return None  # a class of the whole image
    first, last = (_covers(sides, image_size) for sides in (tensor.shape[2:], tensor.shape[1:3]))
    return tensor.permute(0, 3, 1, 2) if last and not first else tensor


def _covers(sides: tuple[int, ...], image_size: Size) -> bool:
    return abs(_aspect(sides, image_size) - 1) < _ASPECT_TOLERANCE


def _aspect(sides: tuple[int, ...], image_size: Size) -> float:
    """Return the aspect ratio of some sides; the image's is 1."""
    return sides[0] * image_size[1] / (sides[1] * image_size[0])


def _rank(name: str, found: Tensor) -> tuple[int, bool]:
    several, integers = found.shape[1] > 1, not found.is_floating_point()
    return 0 if several else 1 if integers else 2, name.rpartition(".")[2] not in _MAIN


def _kind(found: Tensor) -> OutputKind:
    if found.shape[1] > 1:
        return "probabilities" if _is_probability(found) else "logits"
    if not found.is_floating_point() or _is_integral(found):
        return "label map"
    return "one probability" if _is_probability(found) else "one logit"


def _is_integral(found: Tensor) -> bool:
    return bool((found == found.round()).all())


def _is_probability(found: Tensor) -> bool:
    return bool(((found >= -_TOLERANCE) & (found <= 1 + _TOLERANCE)).all())


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
