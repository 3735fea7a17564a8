"""Who is compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, eq=False)
class Party:
    """One of the two that are compared.

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


def subject(provenance: Mapping[str, object]) -> str:
    """Return what was evaluated, in a word: checkpoint or topic; empty if neither is known."""
    known = provenance.get("checkpoint") or provenance.get("input_topic")
    return Path(str(known)).name if known else ""
