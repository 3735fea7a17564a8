"""What a comparison shows about each of its sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, eq=False)
class SideInfo:
    """What is shown about one of the two sides that are compared.

    Attributes:
        folder: where its evaluation lies; of a running evaluator its name.
        name: what was evaluated, in a word.
        provenance: with what.
        doubts: of its score.
        problems: what of damaged bags is missing, a line each.
    """

    folder: str
    name: str
    provenance: Mapping[str, object]
    doubts: Sequence[str] = ()
    problems: Sequence[str] = ()
