"""What makes a state impossible to add to what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.counts import Axes

if TYPE_CHECKING:
    from deeplab_miou.aggregation.messages import EvaluatorState
    from deeplab_miou.aggregation.results import Scoring
    from deeplab_miou.aggregation.runs import HeardRun, Runs

_MAX_SOURCES = 256


def check_axes(state: EvaluatorState, counted: Axes) -> None:
    """Check that a state has the classes and regions of those counted so far.

    Raises:
        RefusedError: it does not.
    """
    for what, told, expected in zip(Axes._fields, state.axes, counted, strict=True):
        if told != expected:
            raise RefusedError(
                "class_names" if what == "classes" else "region_names",
                f"state of {state.source!r} refused: its {what} are {_list(told)}, but "
                f"those counted so far are {_list(expected)}; call reset to start over",
            )


def check_weight_count(state: EvaluatorState, scoring: Scoring) -> None:
    """Check that the classes of the first state are as many as there are weights.

    Raises:
        RefusedError: they are not.
    """
    try:
        scoring.check(len(state.class_names))
    except ConfigurationError as error:
        raise RefusedError("class_weights", f"state of {state.source!r} refused: {error}") from None


def check_continues(state: EvaluatorState, run: HeardRun) -> None:
    """Check that a state may follow the newest one of its run.

    Raises:
        RefusedError: it contradicts it.
    """
    if state.run.reset_count == run.state.run.reset_count and (
        state.axes != run.state.axes or state.run.counts.shrank_since(run.state.run.counts)
    ):
        raise RefusedError(
            "inconsistent",
            f"state {state.sequence} of {state.source!r} refused: within a run its classes "
            "or regions changed or its counts shrank without a reset",
        )


def make_room(state: EvaluatorState, runs: Runs) -> None:
    """Make room for one more run; one that is idle may be given up for it.

    Raises:
        RefusedError: there is none.
    """
    if runs.is_full:
        raise RefusedError(
            "overflow",
            f"state of {state.source!r} refused: finished runs count more than "
            f"{MAX_SUM} pixels or messages; call reset to start over",
        )
    sources = runs.sources
    is_new = state.source not in sources
    if is_new and len(sources) >= _MAX_SOURCES and not runs.give_up_idle():
        raise RefusedError(
            "too_many_sources",
            f"state of {state.source!r} refused: {_MAX_SOURCES} sources are the limit; "
            "call reset to start over",
        )


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")  # noqa: PLR2004
    return f"{len(names)} ({shown})"
