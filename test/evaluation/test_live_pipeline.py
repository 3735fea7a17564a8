"""A live pipeline does what the user's options say."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.evaluation.live_pipeline import build_live_pipeline
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.options.evaluator import EvaluatorOptions

PIXELS = mono8(np.zeros((2, 3), np.uint8))
MS = 1_000_000


def build(on_outcome, **options):
    settings = EvaluatorOptions(source="topic", labels="cityscapes", **options)
    return build_live_pipeline(
        settings,
        build_engine(settings),
        Legends(),
        run_id="run",
        reset_count=3,
        wants_predictions=lambda: False,
        wants_confidences=lambda: False,
        on_outcome=on_outcome,
    )


def test_tolerance_queue_and_overflow_are_the_options():
    outcomes = []
    pipeline = build(
        outcomes.append, sync_tolerance=0.02, queue_size=2, overflow="drop_newest", batch_size=2
    )
    for stamp_ms in (0, 1000, 2000):
        pipeline.add(Stream.IMAGE, stamp_ms * MS, "camera", PIXELS)
        pipeline.add(Stream.LABEL, (stamp_ms + 20) * MS, "camera", PIXELS)
    pipeline.flush()
    assert [each.reason for each in outcomes] == [Reason.QUEUE_FULL]
    assert outcomes[0].image.stamp_ns == 2000 * MS
    assert pipeline.work(0) == 2
    run = pipeline.run.snapshot()
    assert (run.run_id, run.reset_count, run.counts.frames) == ("run", 3, 2)


@pytest.mark.parametrize(("depth_topic", "waits"), [("", 0), ("/depth", 1)])
def test_pairs_wait_for_depth_only_where_there_is_a_topic(depth_topic, waits):
    pipeline = build(lambda _: None, depth_topic=depth_topic)
    pipeline.add(Stream.IMAGE, 0, "camera", PIXELS)
    pipeline.add(Stream.LABEL, 0, "camera", PIXELS)
    assert (pipeline.without_depth, len(pipeline.queue)) == (waits, 1 - waits)
