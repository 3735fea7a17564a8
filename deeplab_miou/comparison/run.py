"""One side of a comparison: what ``deeplab-miou evaluate --output`` left in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.report.files import JSON_NAME
from deeplab_miou.report.frame_table import FRAMES_NAME, read_frame_table

if TYPE_CHECKING:
    from deeplab_miou.report.frame_table import FrameTable


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """What an evaluation left.

    Attributes:
        folder: where it lies.
        table: counts frame by frame.
        provenance: of its report.
        doubts: of its report.
    """

    folder: str
    table: FrameTable
    provenance: dict[str, object]
    doubts: list[str]

    @property
    def name(self) -> str:
        """What was evaluated, in a word."""
        known = self.provenance.get("checkpoint") or self.provenance.get("input_topic")
        return Path(str(known)).name if known else self.folder


def read_run(folder: str) -> EvaluatedRun:
    """Read an output folder of ``deeplab-miou evaluate``.

    Raises:
        ConfigurationError: it is no such folder.
        DeeplabMiouError: a file of it is damaged.
    """
    place = Path(folder).expanduser()
    missing = [name for name in (JSON_NAME, FRAMES_NAME) if not (place / name).is_file()]
    if missing:
        raise ConfigurationError(
            f"{folder!r} has no {' and no '.join(missing)}: give the folders of two "
            "`deeplab-miou evaluate BAG --output FOLDER`"
        )
    try:
        report = json.loads((place / JSON_NAME).read_text(encoding="utf-8"))
        provenance, doubts = dict(report["provenance"]), [str(each) for each in report["doubts"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{str(place / JSON_NAME)!r} is no report of an evaluation ({type(error).__name__}: "
            f"{error})"
        ) from None
    return EvaluatedRun(folder, read_frame_table(place / FRAMES_NAME), provenance, doubts)
