"""Reports on disk: the new one complete, or the old one untouched."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.report.page import render_page

if TYPE_CHECKING:
    from deeplab_miou.report.report import Report

JSON_NAME = "report.json"
HTML_NAME = "report.html"


def write_report(report: Report, folder: Path | str) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html``; the folder is made when missing.

    Args:
        report: what to write.
        folder: where to.

    Returns:
        The paths of both files.

    Raises:
        DeeplabMiouError: they cannot be written; a report that was there before is untouched.
    """
    folder = Path(folder).expanduser()
    # Rendered before anything is written, so that an error in one leaves both as they were.
    page = render_page(report)
    write_json(report, folder / JSON_NAME)
    write_atomically(folder / HTML_NAME, page)
    return folder / JSON_NAME, folder / HTML_NAME


def write_json(report: Report, path: Path | str) -> None:
    """Write a report as JSON.

    Args:
        report: what to write.
        path: the file.

    Raises:
        DeeplabMiouError: it cannot be written; a file that was there before is untouched.
    """
    write_atomically(Path(path), to_json(report))


def to_json(report: Report) -> str:
    """Return a report as JSON text, a class and a row of the matrix to a line."""
    content = report.to_dict()
    lines = [f"{json.dumps(key)}: {_value(value)}" for key, value in content.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by text: through a temporary file beside it, synced and renamed.

    Args:
        path: the file; its folder is made when missing.
        text: its new content.

    Raises:
        DeeplabMiouError: it cannot be written; the file is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        kept = "; the one that was there is untouched" if path.exists() else ""
        raise DeeplabMiouError(
            f"report {str(path)!r} cannot be written: {error.strerror or error}{kept}"
        ) from error


def _sync_folder(folder: Path) -> None:
    # The rename itself is durable only once the folder is synced; some file systems cannot.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _value(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        rows = ",\n    ".join(json.dumps(each, allow_nan=False) for each in value)
        return f"[\n    {rows}\n  ]"
    text = json.dumps(value, indent=2, allow_nan=False)
    return text.replace("\n", "\n  ")
