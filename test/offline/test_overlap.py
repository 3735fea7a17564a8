"""Reading and decoding go on while frames are scored."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

FRAMES = 12
DEADLINE_S = 20.0


@pytest.fixture
def options(tmp_path):
    (tmp_path / "map.yaml").write_text("classes:\n  - {name: a, ids: [0]}\n  - {name: b, ids: [1]}")
    random = np.random.default_rng(0)
    with BagWriter(tmp_path / "drive") as writer:
        for k in range(FRAMES):
            truth = random.integers(0, 2, (8, 8)).astype(np.uint8)
            truth[0, 0] = k % 2
            # Of the label, only the corner tells which frame it is.
            writer.write_image("/prediction", k * 10**9, "", mono8(np.full((8, 8), k, np.uint8)))
            writer.write_image("/labels", k * 10**9, "", mono8(truth))
    engine = EngineOptions(source="topic", labels=str(tmp_path / "map.yaml"))
    return OfflineOptions(
        bag=str(tmp_path / "drive"),
        engine=engine,
        prediction_topic="/prediction",
        label_topic="/labels",
    )


def test_the_next_frames_are_decoded_while_one_is_scored(options):
    engine = build_engine(options.engine)
    decoded = [threading.Event() for _ in range(FRAMES)]
    scored, decoders = [], set()

    def prepare(message):
        image = engine.predictor.prepare(message)
        decoders.add(threading.current_thread().name)
        decoded[image[0, 0]].set()
        return image

    def score(images, ground_truths, *, keep_predictions, **_):
        number = int(images[0][0, 0])
        scored.append(number)
        # Whoever decodes a frame only when the one before it is done would wait here in vain.
        assert decoded[min(number + 1, FRAMES - 1)].wait(DEADLINE_S)
        return engine.predictor.score(
            [image % 2 for image in images], ground_truths, keep_predictions=keep_predictions
        )

    predictor = replace(engine.predictor, prepare=prepare, score=score, needs_worker=True)
    found = evaluate(options, engine=replace(engine, predictor=predictor))
    assert found.report.result.totals.counts.frames == FRAMES
    # Once more at the end: the pictures of the worst.
    assert scored[:FRAMES] == list(range(FRAMES))
    assert len(decoders - {threading.current_thread().name}) > 1


def test_the_counts_are_those_without_threads(options, tmp_path):
    engine = build_engine(options.engine)
    tables = [tmp_path / name for name in ("plain", "threads")]
    plain = evaluate(options, engine=engine, frame_table=tables[0])
    predictor = replace(engine.predictor, needs_worker=True)
    other = evaluate(options, engine=replace(engine, predictor=predictor), frame_table=tables[1])
    np.testing.assert_array_equal(
        other.report.result.totals.counts.matrix, plain.report.result.totals.counts.matrix
    )
    assert other.report.result.totals.account == plain.report.result.totals.account
    assert not [each for each in threading.enumerate() if "ThreadPool" in each.name]


def test_an_error_while_decoding_is_the_frames_own(options):
    """An image that cannot be decoded drops its frame, and no other."""
    with BagWriter(options.bag + "2") as writer:
        for k in range(FRAMES):
            ids = np.zeros((8, 8), np.uint8)
            image = mono8(ids if k != 5 else ids[:4])
            writer.write_image("/prediction", k * 10**9, "", image)
            writer.write_image("/labels", k * 10**9, "", mono8(ids))
    engine = build_engine(options.engine)
    engine = replace(engine, predictor=replace(engine.predictor, needs_worker=True))
    report = evaluate(replace(options, bag=options.bag + "2"), engine=engine).report
    assert report.result.totals.counts.frames == FRAMES - 1
    assert report.result.totals.account.images.dropped == {"size_mismatch": 1}
