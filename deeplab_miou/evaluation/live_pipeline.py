"""Builds the pipeline of a live evaluation from the user's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from deeplab_miou.evaluation.depth_pairing import DepthPairer
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.pipeline import ClockJump, Pipeline
from deeplab_miou.evaluation.queueing import Overflow, WorkQueue
from deeplab_miou.evaluation.run_state import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeplab_miou.evaluation.engine import Engine
    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.options.evaluator import EvaluatorOptions

_NS = 1_000_000_000
T = TypeVar("T")


def build_live_pipeline(
    options: EvaluatorOptions,
    engine: Engine,
    legends: Legends,
    *,
    run_id: str,
    reset_count: int,
    wants_predictions: Callable[[], bool],
    wants_confidences: Callable[[], bool],
    on_outcome: Callable[[FrameOutcome], None],
) -> Pipeline:
    """Return the pipeline that a user's options ask for.

    Args:
        options: what the user wants.
        engine: label map and predictions.
        legends: the names of ids.
        run_id: unique for the process.
        reset_count: resets before this run, of the same process.
        wants_predictions: whether somebody wants to see predictions; asked for each batch.
        wants_confidences: whether somebody wants to see how sure they are; likewise.
        on_outcome: called with the outcome of each frame.
    """
    return Pipeline(
        engine.predictor,
        engine.label_map,
        run=RunState(
            engine.label_map.num_classes,
            regions=len(engine.axes.regions),
            run_id=run_id,
            reset_count=reset_count,
        ),
        pairer=_pairer(options),
        queue=WorkQueue(options.queue_size, Overflow(options.overflow)),
        # It may hold as much as the pairer.
        depth=DepthPairer(_pairer(options)) if options.depth_topic else None,
        batch_size=options.batch_size,
        regions=engine.regions,
        error_types=engine.error_types,
        score_at=options.score_at,
        on_clock_jump=ClockJump(options.on_clock_jump),
        wants_predictions=wants_predictions,
        wants_confidences=wants_confidences,
        on_outcome=on_outcome,
        legends=legends,
    )


def _pairer(options: EvaluatorOptions) -> Pairer[T]:
    return Pairer(
        tolerance_ns=round(options.sync_tolerance * _NS),
        max_frames=options.hold_frames,
        max_bytes=options.hold_mebibytes * 2**20,
        jump_threshold_ns=round(options.clock_jump_threshold * _NS),
    )
