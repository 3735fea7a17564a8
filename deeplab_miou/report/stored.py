"""Reads back and verifies what an evaluation left in a folder."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_miou.accounting import Account
from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.metric.counts import DEPTH, MISTAKES, Axes, Counts
from deeplab_miou.report.files import HTML_NAME, JSON_NAME, MARKDOWN_NAME
from deeplab_miou.report.frame_table import FRAMES_NAME, read_frame_table
from deeplab_miou.tags.timeline import Change, TagTimeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deeplab_miou.report.frame_table import FrameTable


@dataclass(frozen=True, eq=False)
class StoredReport:
    """A ``report.json``.

    Attributes:
        folder: where it lies.
        content: all of it.
        axes: classes and regions.
        counts: pixels and frames.
        account: what became of every message.
        provenance: what was evaluated, with what.
        doubts: of its score.
        bags: names of the bags that have a report of their own, of many; None for a single one.
    """

    folder: Path
    content: dict[str, Any]
    axes: Axes
    counts: Counts
    account: Account
    provenance: dict[str, Any]
    doubts: list[str]
    bags: list[str] | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in id order."""
        return self.axes.classes

    def number(self, key: str) -> float:
        """Return a score; NaN where it is null."""
        value = self.content[key]
        return math.nan if value is None else float(value)

    @property
    def problems(self) -> list[str]:
        """What of a damaged bag is missing, a line each; nothing if all was read."""
        return [str(each) for each in self.content["problems"]] if self.content["damaged"] else []

    def timeline(self) -> TagTimeline:
        """Return which tags were in force when; without tags there are none."""
        timeline = TagTimeline()
        timeline.add_changes(
            Change(str(each["key"]), int(each["start_ns"]), tuple(map(str, each["names"])))
            for each in self.content.get("tags", ())
        )
        return timeline

    def table(self) -> FrameTable:
        """Return the counts of each frame.

        Raises:
            DeeplabMiouError: they cannot be read, or are not those of this report.
        """
        path = self.folder / FRAMES_NAME
        table = read_frame_table(path)
        right = np.diagonal(self.counts.matrix).tolist()
        found = (table.class_names, len(table.stamps_ns), table.counts[:, 0].sum(axis=0).tolist())
        if found != (self.class_names, self.counts.frames, right):
            raise DeeplabMiouError(
                f"{str(path)!r} does not belong to the {JSON_NAME} next to it: evaluate again"
            )
        return table


def read_report(folder: Path) -> StoredReport:
    """Read a folder's ``report.json``.

    Raises:
        ConfigurationError: there is none, or it is not a report.
    """
    path = folder / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = content["classes"]
        regions, depth = content.get("regions", []), content.get("depth")
        matrices = [each["confusion"] for each in (content, *regions)]
        stack = np.array(matrices, np.int64).reshape(-1, len(classes), len(classes) + 1)
        bags = [each["name"] for each in content.get("bags", []) if each["status"] != "failed"]
        return StoredReport(
            folder,
            content,
            Axes(*(tuple(str(each["name"]) for each in named) for named in (classes, regions))),
            Counts.of_stack(
                stack,
                int(content["frames"]),
                int(content["ignored_pixels"]),
                int(content["unmapped_pixels"]),
                np.array(content.get("mistakes") or [], np.int64).reshape(-1, len(MISTAKES)),
                depth=np.array([depth[key] for key in DEPTH] if depth else [], np.int64),
            ),
            Account.from_dict(content["accounting"]),
            dict(content["provenance"]),
            [str(each) for each in content["doubts"]],
            bags if content.get("bags") else None,
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigurationError(
            f"{str(path)!r} is not the report of an evaluation ({type(error).__name__}: {error})"
        ) from None


def read_finished(folder: Path, facts: Mapping[str, object]) -> StoredReport | None:
    """Return the report of a folder if it is whole and its provenance has these facts, else None.

    Whole means report, page, Markdown and table of frames, all of the same evaluation.
    """
    try:
        stored = read_report(folder)
        if any(stored.provenance.get(key) != value for key, value in facts.items()):
            return None
        digest = hashlib.sha256((folder / JSON_NAME).read_bytes()).hexdigest()
        texts = ((folder / name).read_text(encoding="utf-8") for name in (HTML_NAME, MARKDOWN_NAME))
        if not all(digest in text for text in texts):
            return None
        stored.table()
    except (DeeplabMiouError, OSError, ValueError):
        return None
    return stored
