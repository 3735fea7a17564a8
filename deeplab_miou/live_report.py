"""The report of a live run, written so that an old one survives a failure."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.results import Result

FILE_NAME = "report.json"


def check_directory(directory: Path) -> None:
    """Make a folder if need be and see that files can be written to it.

    Raises:
        ConfigurationError: they cannot.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"report folder {directory} cannot be written to: {error.strerror or error}"
        ) from None


def save_report(
    directory: Path, result: Result, window: Result, provenance: Mapping[str, str]
) -> Path:
    """Write ``report.json``; an older one is replaced at once or not at all.

    Args:
        directory: folder, made if need be.
        result: scores of all that was counted.
        window: scores of the window.
        provenance: JSON text of each evaluator.

    Returns:
        The file.

    Raises:
        ConfigurationError: it cannot be written; an older report is left as it was.
    """
    text = json.dumps(_plain(_content(result, window, provenance)), indent=2, allow_nan=False)
    path = directory.absolute() / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text + "\n")
    except OSError as error:
        raise ConfigurationError(f"report {path} not written: {error.strerror or error}") from None
    return path


def _content(result: Result, window: Result, provenance: Mapping[str, str]) -> dict[str, object]:
    totals, intervals = result.totals, result.intervals
    scores = {"miou": math.nan, "classes": []}
    if result.scores is not None:
        scores = result.scores.to_dict(totals.class_names)
    return scores | {
        "frames": totals.frames,
        "missing_frames": totals.missing_frames,
        "ignored_pixels": totals.ignored_pixels,
        "unmapped_pixels": totals.unmapped_pixels,
        "class_names": list(totals.class_names),
        "intervals": None
        if intervals is None
        else {
            "miou": list(intervals.miou),
            "iou": intervals.iou.tolist(),
            "blocks": intervals.blocks,
            "reason": intervals.reason,
        },
        "window": {
            "miou": math.nan if window.scores is None else window.scores.miou,
            "frames": window.totals.frames,
        },
        "confusion": totals.matrix.tolist(),
        "accounting": {"images": totals.images.to_dict(), "labels": totals.labels.to_dict()},
        "provenance": {source: _parsed(text) for source, text in sorted(provenance.items())},
    }


def _parsed(text: str) -> object:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def _plain(value: object) -> object:
    """NaN and infinities are no JSON: null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
