"""Files next to the weights that say what the weights do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deeplab_miou.model.checkpoints.checkpoint import Preprocessing

_MOST_BYTES = 1 << 20


class Stated(NamedTuple):
    """What other files say of a network.

    Attributes:
        architecture: fields of `Architecture`.
        preprocessing: what its images need; None where no file says so.
    """

    architecture: Mapping[str, object]
    preprocessing: Preprocessing | None = None


NOTHING = Stated({})


def read_object(path: Path) -> dict[str, object]:
    """Return the JSON object in a file; empty where there is no such file or none in it."""
    try:
        with path.open(encoding="utf-8") as file:
            content = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
