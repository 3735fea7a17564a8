"""Whether a live and an offline report of the same messages say the same, to the last digit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# How a report came about; all else is what was found.
_ITS_OWN = frozenset(("provenance", "problems", "doubts", "damaged", "criteria", "bags"))
# Scores of parts, which have worst frames of their own.
_PARTS = ("regions", "slices")


def find_differences(live: Mapping[str, Any], offline: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two reports differ.

    Counts, account, offsets, scores, intervals, bounds for every moment, window, timeline and worst
    frames are compared as they are; the worst frames but for the name of their evaluator.

    Args:
        live: content of a ``report.json``.
        offline: content of another one.
    """
    keys = {**live, **offline}.keys() - _ITS_OWN
    return sorted(key for key in keys if _found(live, key) != _found(offline, key))


def _found(report: Mapping[str, Any], key: str) -> object:
    found = report.get(key)
    if key == "worst_frames":
        return [{**frame, "source": ""} for frame in report[key]]
    if key in _PARTS and found is not None:
        return [{**part, "worst_frames": _found(part, "worst_frames")} for part in found]
    return found
