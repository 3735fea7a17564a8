"""What defines a family of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deeplab_miou.model.checkpoints.checkpoint import Preprocessing
from deeplab_miou.model.checkpoints.family.configuration import NOTHING, Stated

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from torch import Tensor

    from deeplab_miou.model.checkpoints.family.naming import Layout
    from deeplab_miou.model.network.architecture import Architecture


def _nothing(_path: Path, _weights: Collection[str]) -> Stated:
    return NOTHING


@dataclass(frozen=True)
class Family:
    """One layout of checkpoint files.

    Attributes:
        name: what users know it by.
        signature: a part that only this family's keys contain.
        output_stride: the family's own default.
        describe: architecture from weights and output stride.
        layout: our layer names to the family's.
        ignored: beginnings of keys that evaluation has no use for.
        preprocessing: what its images need where no other file says so; ImageNet's
            mean and standard deviation unless its code has its own.
        stated: what files next to a file with weights of such names say.
    """

    name: str
    signature: str
    output_stride: int
    describe: Callable[[Mapping[str, Tensor], int], Architecture]
    layout: Callable[[Architecture], Layout]
    ignored: tuple[str, ...] = ()
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    stated: Callable[[Path, Collection[str]], Stated] = _nothing
