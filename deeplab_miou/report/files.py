"""Reports on disk: the new one complete, or the old one untouched."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.paths import user_path
from deeplab_miou.report.markdown import to_markdown
from deeplab_miou.report.page import render_page

try:
    import fcntl
except ImportError:  # pragma: no cover  (Windows)
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deeplab_miou.report.report import Report

JSON_NAME = "report.json"
HTML_NAME = "report.html"
MARKDOWN_NAME = "report.md"
REPORT_NAMES = (JSON_NAME, HTML_NAME, MARKDOWN_NAME)
# Holds a folder for each of many bags.
BAGS_NAME = "bags"


def check_directory(directory: str) -> None:
    """Make a folder if need be and see that files can be written to it.

    Raises:
        ConfigurationError: they cannot.
    """
    try:
        folder = user_path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"folder {directory!r} cannot be written to: {reason}") from None


@contextmanager
def held_directory(directory: str) -> Iterator[None]:
    """Keep other runs from writing to a folder, as their bags would mix; empty for no folder.

    The folder is checked as by `check_directory`. However the process ends, it is free again.

    Raises:
        ConfigurationError: it cannot be written to, or another run does.
    """
    if not directory:
        yield
        return
    check_directory(directory)
    descriptor = os.open(user_path(directory), os.O_RDONLY)
    try:
        # Where a file system has no locks, it is as without them.
        with suppress(OSError):
            try:
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"another run is writing to {directory!r}: wait until it ends, or give another "
                    "folder"
                ) from None
        yield
    finally:
        os.close(descriptor)


def write_report(report: Report, folder: Path | str) -> list[Path]:
    """Write ``report.json``, ``report.html`` and ``report.md``; the folder is made when missing.

    Page and Markdown name the digest of their JSON file: files of different writes show.

    Args:
        report: what to write.
        folder: where to.

    Returns:
        The paths of the files, JSON first.

    Raises:
        DeeplabMiouError: they cannot be written; a report that was there before is untouched.
    """
    folder = user_path(folder)
    data = to_json(report)
    digest = hashlib.sha256(data.encode()).hexdigest()
    texts = {
        folder / JSON_NAME: data,
        folder / HTML_NAME: render_page(report, digest),
        folder / MARKDOWN_NAME: to_markdown(report, digest),
    }
    write_together(texts)
    return list(texts)


def to_json(report: Report) -> str:
    """Return a report as JSON text, a class and a row of the matrix to a line."""
    content = report.to_dict()
    lines = [f"{json.dumps(key)}: {_value(value)}" for key, value in content.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def write_together(texts: Mapping[Path, str]) -> None:
    """Replace files that belong together: write and sync all of them first, then rename.

    What fails for want of space or permission fails before the first is renamed. Only a machine
    that stops between two renames leaves files of different writes.

    Args:
        texts: new content of each file; their folders are made when missing.

    Raises:
        DeeplabMiouError: one cannot be written; all are as they were before.
    """
    temporaries: dict[Path, Path] = {}
    current = next(iter(texts))
    try:
        for current, text in texts.items():
            current.parent.mkdir(parents=True, exist_ok=True)
            if current.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            temporary = current.with_name(f".{current.name}.{secrets.token_hex(4)}.tmp")
            with temporary.open("x", encoding="utf-8") as file:
                temporaries[current] = temporary
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for current, temporary in list(temporaries.items()):
            temporary.replace(current)
            del temporaries[current]
        for folder in {path.parent for path in texts}:
            _sync_folder(folder)
    except OSError as error:
        kept = "; the one that was there is untouched" if current.is_file() else ""
        raise DeeplabMiouError(
            f"report {str(current)!r} cannot be written: {error.strerror or error}{kept}"
        ) from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


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
