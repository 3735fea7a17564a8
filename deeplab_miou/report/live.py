"""The report of a live run."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.report.files import write_report
from deeplab_miou.report.judging import judge
from deeplab_miou.report.provenance import environment, utc
from deeplab_miou.report.report import Report
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeplab_miou.aggregation.results import Result, Scoring
    from deeplab_miou.report.criteria import Criterion


# Evaluators tell of facts in lists.
_DEEPEST = 8


@dataclass(frozen=True)
class LiveRun:
    """What is reported in addition to the scores.

    Attributes:
        evaluators: JSON text about each evaluator, by name.
        refused: messages of evaluators that were refused, by kind.
        scoring: how the scores were computed.
        started_s: when counting began, seconds since the epoch.
        criteria: what the score must reach.
        latency_s: 95th percentile of the frames' latency, seconds; NaN if there is none.
    """

    evaluators: Mapping[str, str]
    refused: Mapping[str, int]
    scoring: Scoring
    started_s: float
    criteria: Sequence[Criterion] = ()
    latency_s: float = math.nan


def save_report(directory: str, result: Result, window: Result, run: LiveRun) -> Path:
    """Write the report; an older one is replaced at once or not at all.

    Args:
        directory: folder, made if need be.
        result: scores of all that was counted.
        window: scores of the window.
        run: what else is reported.

    Returns:
        The JSON file.

    Raises:
        DeeplabMiouError: nothing has been counted yet, or it cannot be written; an older report
            is left as it was.
    """
    return write_report(make_report(result, window, run), Path(directory).absolute())[0]


def make_report(result: Result, window: Result, run: LiveRun) -> Report:
    """Return the report with what has been reached of the criteria.

    Raises:
        DeeplabMiouError: nothing has been counted yet.
    """
    report = Report(
        result,
        window=window,
        provenance=_provenance(run),
        problems=_problems(result.totals.missing_frames, run),
    )
    judgements = judge(run.criteria, report.to_dict(), latency_s=run.latency_s)
    return replace(report, criteria=judgements)


def _provenance(run: LiveRun) -> dict[str, object]:
    evaluators = {source: _parsed(text) for source, text in sorted(run.evaluators.items())}
    # One evaluator's facts lie where those of an offline evaluation do.
    facts = next(iter(evaluators.values())) if len(evaluators) == 1 else {"evaluators": evaluators}
    return {
        **facts,
        "mode": "live",
        "sources": list(evaluators),
        "absent_classes": run.scoring.absent_classes,
        "class_weights": list(run.scoring.class_weights),
        "started": utc(run.started_s),
        "ended": utc(time.time()),
        **environment(str(facts.get("device", "none"))),
    }


def _parsed(text: str) -> dict[str, object]:
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) and _is_shallow(value) else {"text": text}


def _is_shallow(value: object) -> bool:
    """Return whether what writes the report can walk through a value."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            each
            for outer in level
            if isinstance(outer, dict | list)
            for each in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return not level


def _problems(missing_frames: int, run: LiveRun) -> list[str]:
    problems = []
    if missing_frames:
        problems.append(
            f"{plural(missing_frames, 'frame outcome')} did not arrive: counted in the score, but "
            "missing from window and intervals"
        )
    problems += [
        f"{plural(number, 'message')} of evaluators refused: {kind}"
        for kind, number in sorted(run.refused.items())
    ]
    return problems
