"""What is known about a network apart from its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.model.checkpoints.program_outputs import OutputKind

ChannelOrder = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an RGB image in 0..1 before the network sees it.

    Attributes:
        mean: subtracted from each channel.
        std: then divides each channel.
        size: (height, width) that the image is resized to bilinearly; None leaves it as it is.
        channel_order: what the network sees first, red (``rgb``) or blue (``bgr``); `mean` and
            `std` are of red, green and blue in either case.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    size: tuple[int, int] | None = None
    channel_order: ChannelOrder = "rgb"

    def replace(
        self,
        *,
        size: tuple[int, int] | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        channel_order: ChannelOrder | None = None,
    ) -> Preprocessing:
        """Return a copy with those fields replaced that are given.

        Raises:
            ConfigurationError: a value is out of its range.
        """
        changed = Preprocessing(
            mean or self.mean,
            std or self.std,
            size or self.size,
            channel_order or self.channel_order,
        )
        return Preprocessing.from_dict(changed.to_dict(), "preprocessing")

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain types for JSON."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "size": self.size,
            "channel_order": self.channel_order,
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object], origin: str) -> Preprocessing:
        """Return the record that `to_dict` wrote.

        Raises:
            ConfigurationError: a value is missing or of another form; names `origin`.
        """
        mean, std, size = (mapping.get(key) for key in ("mean", "std", "size"))
        if not _numbers(mean, 3) or not _numbers(std, 3) or min(std) <= 0:  # type: ignore[call-overload]
            raise ConfigurationError(
                f"{origin}: preprocessing has mean {mean!r} and std {std!r}, "
                "expected three finite numbers each, std above 0"
            )
        if max(*mean, *std) > 1:  # type: ignore[misc]
            raise ConfigurationError(
                f"{origin}: preprocessing has mean {mean!r} and std {std!r}, expected values for "
                "images in 0..1; if these are for images in 0..255, divide both by 255"
            )
        if size is not None and not (_numbers(size, 2) and min(size) >= 1):  # type: ignore[call-overload]
            raise ConfigurationError(
                f"{origin}: preprocessing size is {size!r}, expected [height, width] or null"
            )
        order = mapping.get("channel_order", "rgb")
        if order not in ("rgb", "bgr"):
            raise ConfigurationError(
                f"{origin}: preprocessing has channel_order {order!r}, expected rgb or bgr"
            )
        return cls(
            mean=tuple(mean),  # type: ignore[arg-type]
            std=tuple(std),  # type: ignore[arg-type]
            size=None if size is None else tuple(size),  # type: ignore[arg-type]
            channel_order=order,
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
        label_map: what the classes mean, if the file or the caller says so.
        provenance: free-form facts about the training, as written into the file.
        path: the file.
        digest: sha256 of the file, hexadecimal; with the files next to it that hold its weights.
        output: what the network returns. ``probabilities`` of several classes are treated as
            logits, but for confidences. One channel, a ``one logit`` or a ``one probability``, is
            made into the logits of two classes before anybody sees it; a ``label map``
            ``(N, 1, H, W)`` uint8 is taken as it is, and `num_classes` is then 0 until a label map
            provides it.
        weights: which of the file's sets of weights was taken; empty for its top level.
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
    output: OutputKind = "logits"
    weights: str = ""


def check_label_map(label_map: LabelMap | None, num_classes: int, path: Path) -> None:
    """Compare a label map with a network.

    Raises:
        ConfigurationError: they have different numbers of classes.
    """
    if label_map is not None and num_classes and label_map.num_classes != num_classes:
        raise ConfigurationError(
            f"checkpoint {path}: the network has {num_classes} classes, label map "
            f"{label_map.name!r} has {label_map.num_classes}; give the map it was trained with"
        )


def _numbers(value: object, count: int) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == count
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
        and all(math.isfinite(v) for v in value)
    )
