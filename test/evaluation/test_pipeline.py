from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.pipeline import ClockJump, Pipeline
from deeplab_miou.evaluation.predictors import Predictor, network_predictor, topic_predictor
from deeplab_miou.evaluation.queueing import Overflow, WorkQueue
from deeplab_miou.images.messages import RawImage
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.metric.frame_scores import score_labels

IMAGE, LABEL = Stream.IMAGE, Stream.LABEL
S = 1_000_000_000
CLASSES = {"name": "three", "classes": [{"name": name} for name in ("a", "b", "c")]}
STRICT = CLASSES | {"unmapped": "error"}


def label_map(mapping=CLASSES):
    return LabelMap.from_dict(mapping, "test")


class Run:
    """A pipeline that scores predictions from a topic, and all outcomes it told."""

    def __init__(self, mapping=CLASSES, predictor=None, **options):
        self.outcomes = []
        options.setdefault("queue", WorkQueue(100))
        self.pipeline = Pipeline(
            predictor or topic_predictor(label_map(mapping)),
            label_map(mapping),
            on_outcome=self.outcomes.append,
            **options,
        )

    def add(self, stream, stamp_ns, image):
        self.pipeline.add(stream, stamp_ns, "camera", image)

    def pair(self, stamp_ns, prediction, label):
        self.add(IMAGE, stamp_ns, mono8(prediction))
        self.add(LABEL, stamp_ns, mono8(label))

    def work(self):
        while self.pipeline.work(0):
            pass

    def reasons(self):
        return Counter(outcome.reason for outcome in self.outcomes)

    def check(self):
        account = self.pipeline.run.account
        for counts in (account.images, account.labels):
            dropped = sum(counts.dropped.values())
            assert counts.received == counts.evaluated + counts.waiting + dropped
        held = self.pipeline.held
        assert account.images.waiting == held[IMAGE] + len(self.pipeline.queue)
        assert account.labels.waiting == held[LABEL] + len(self.pipeline.queue)


def test_worked_example():
    run = Run()
    run.pair(1, [[0, 1, 2, 0, 1]], [[0, 1, 1, 0, 2]])
    run.work()
    expected = [[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert run.pipeline.run.snapshot().counts.matrix.tolist() == expected
    (outcome,) = run.outcomes
    assert outcome.reason is None
    assert outcome.counts.matrix.tolist() == expected
    assert outcome.position.sequence == 1
    run.check()


def test_ignored_unmapped_and_invalid_pixels_are_counted_apart():
    run = Run()
    run.pair(1, [[0, 9, 255, 1]], [[0, 1, 255, 77]])
    run.work()
    (outcome,) = run.outcomes
    assert outcome.counts.matrix.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert (outcome.counts.ignored, outcome.counts.unmapped) == (2, 1)
    snapshot = run.pipeline.run.snapshot()
    assert (snapshot.counts.ignored, snapshot.counts.unmapped, snapshot.counts.frames) == (2, 1, 1)


def test_unknown_label_under_error_costs_the_frame_only():
    run = Run(STRICT)
    run.pair(1, [[0, 1]], [[0, 77]])
    run.pair(2, [[0, 1]], [[0, 1]])
    run.work()
    assert run.reasons() == {Reason.UNKNOWN_LABEL: 1, None: 1}
    assert "77" in run.outcomes[0].explanation
    run.check()


GARBAGE = {
    Reason.BAD_ENCODING: RawImage(1, 2, "octree", is_bigendian=False, step=12, data=bytes(12)),
    Reason.BAD_SIZE: RawImage(0, 0, "mono8", is_bigendian=False, step=0, data=b""),
    Reason.TRUNCATED_DATA: RawImage(4, 4, "mono8", is_bigendian=False, step=4, data=b"12"),
}


@pytest.mark.parametrize("stream", list(Stream))
@pytest.mark.parametrize("reason", list(GARBAGE))
def test_garbage_is_counted_at_arrival_and_its_partner_stays_unmatched(stream, reason):
    run = Run()
    run.add(stream, 1, GARBAGE[reason])
    run.add(LABEL if stream is IMAGE else IMAGE, 1, mono8([[0]]))
    run.work()
    assert run.reasons() == {reason: 1}
    run.check()
    run.pipeline.flush()
    unmatched = Reason.UNMATCHED_LABEL if stream is IMAGE else Reason.UNMATCHED_IMAGE
    assert run.reasons() == {reason: 1, unmatched: 1}
    assert run.pipeline.run.account.images.waiting == run.pipeline.run.account.labels.waiting == 0


def test_predictions_of_a_topic_must_have_the_labels_size():
    run = Run()
    run.pair(1, np.zeros((2, 4)), np.zeros((4, 8)))
    run.work()
    assert run.reasons() == {Reason.SIZE_MISMATCH: 1}
    assert "score_at" in run.outcomes[0].explanation


def test_labels_are_resized_by_nearest_neighbour_when_scored_at_the_prediction():
    run = Run(score_at="prediction")
    label = np.repeat(np.repeat([[0, 1], [2, 0]], 2, 0), 2, 1)
    run.pair(1, [[0, 1], [2, 2]], label)
    run.work()
    assert run.outcomes[0].counts.matrix.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("score_at", ["label", "prediction"])
def test_another_aspect_ratio_is_another_view(score_at):
    run = Run(score_at=score_at)
    run.pair(1, np.zeros((2, 4)), np.zeros((4, 4)))
    run.work()
    assert run.reasons() == {Reason.SIZE_MISMATCH: 1}


def test_full_queue_drops_whole_pairs():
    run = Run(queue=WorkQueue(2, Overflow.DROP_OLDEST))
    for stamp in range(5):
        run.pair(stamp, [[0]], [[0]])
    assert run.reasons() == {Reason.QUEUE_FULL: 3}
    run.work()
    assert [o.image.stamp_ns for o in run.outcomes if o.reason is None] == [3, 4]
    run.check()


def test_reset_discards_what_waits_and_what_is_in_work():
    started, release = threading.Event(), threading.Event()

    at_once = topic_predictor(label_map())

    def score(images, *others, **options):
        started.set()
        assert release.wait(10)
        return at_once.score(images, *others, **options)

    run = Run(predictor=replace(at_once, score=score))
    run.pair(1, [[0]], [[0]])
    run.add(IMAGE, 2, mono8([[0]]))
    worker = threading.Thread(target=run.pipeline.work, args=(10,))
    worker.start()
    assert started.wait(10)
    run.pipeline.reset()
    run.add(LABEL, 2, mono8([[0]]))
    release.set()
    worker.join(10)
    snapshot = run.pipeline.run.snapshot()
    assert snapshot.counts.frames == 0
    assert snapshot.reset_count == 1
    assert run.outcomes == []
    run.check()
    run.pair(3, [[1]], [[1]])
    run.work()
    assert run.pipeline.run.snapshot().counts.matrix[1, 1] == 1
    assert run.outcomes[0].position == (1, 1)


@pytest.mark.parametrize(("policy", "frames"), [(ClockJump.CONTINUE, 60), (ClockJump.RESET, 30)])
def test_looping_stream(policy, frames):
    run = Run(on_clock_jump=policy)
    for _ in range(2):
        for k in range(30):
            run.pair(k * S // 10, [[k % 3]], [[k % 3]])
        run.work()
    snapshot = run.pipeline.run.snapshot()
    assert snapshot.counts.frames == frames
    assert snapshot.counts.matrix.trace() == frames
    assert snapshot.account.images.received == frames
    run.check()


def test_clock_that_jumps_back_lets_the_stamps_follow():
    run = Run()
    for stamp in (4, 3):
        run.add(IMAGE, stamp * S, mono8([[0]]))
        run.pipeline.clock_jumped(2 * S)
        assert not run.reasons()
    run.add(LABEL, 2 * S, mono8([[0]]))
    run.add(LABEL, 3 * S, mono8([[0]]))
    run.work()
    assert run.pipeline.run.snapshot().counts.frames == 1


def test_a_jump_starts_the_new_run_before_it_tells_of_the_old_one():
    run = Run(on_clock_jump=ClockJump.RESET)
    run.add(IMAGE, 100 * S, mono8([[0]]))
    run.pipeline.clock_jumped(S)
    assert run.pipeline.run.snapshot().reset_count == 0
    for count, stamp in ((1, 20), (1, 100), (2, 2)):
        run.add(IMAGE, stamp * S, mono8([[0]]))
        assert run.outcomes == []
        assert run.pipeline.run.snapshot().reset_count == count
    assert run.pipeline.run.account.images.received == 1


class Fussy:
    """A segmenter whose device takes no batch above a size and dislikes some frames."""

    has_confidence = True

    def __init__(self, most, bad=()):
        self.most = most
        self.bad = bad
        self.batches = []

    def as_input(self, image):
        return image

    def score(self, images, ground_truths, ignore_index, keep_predictions, **_):
        self.batches.append(len(images))
        if len(images) > self.most or any(image[0, 0, 0] in self.bad for image in images):
            raise FrameError(Reason.INFERENCE_FAILED, "out of memory")
        predictions = [np.zeros_like(ground_truth) for ground_truth in ground_truths]
        return score_labels(
            ground_truths, predictions, 3, ignore_index, keep_predictions=keep_predictions
        )


def test_a_batch_too_large_for_the_device_costs_no_frame():
    fussy = Fussy(most=1)
    run = Run(predictor=network_predictor(fussy, label_map()), batch_size=4)
    for stamp in range(4):
        run.pair(stamp, [[stamp]], [[0]])
    run.work()
    assert fussy.batches == [4, 1, 1, 1, 1]
    assert run.reasons() == {None: 4}
    run.check()


def test_only_the_frame_that_fails_is_lost():
    run = Run(predictor=network_predictor(Fussy(most=9, bad=(2,)), label_map()), batch_size=4)
    for stamp in range(4):
        run.pair(stamp, [[stamp]], [[0]])
    run.work()
    assert run.reasons() == {None: 3, Reason.INFERENCE_FAILED: 1}
    run.check()


def test_a_dead_device_is_loud_and_its_frames_are_counted():
    class Dead(Fussy):
        def score(self, images, *others, **options):  # noqa: ARG002
            raise RuntimeError("device lost")

    run = Run(predictor=network_predictor(Dead(most=0), label_map()), batch_size=2)
    run.pair(1, [[0]], [[0]])
    run.pair(2, [[0]], [[0]])
    with pytest.raises(RuntimeError, match="device lost"):
        run.work()
    assert run.reasons() == {Reason.INFERENCE_FAILED: 2}
    run.check()


def test_messages_that_cannot_be_read_are_counted():
    run = Run()
    run.pipeline.reject(LABEL, 5, "camera", FrameError(Reason.TRUNCATED_DATA, "cut short"))
    assert run.reasons() == {Reason.TRUNCATED_DATA: 1}
    assert run.pipeline.run.account.labels.received == 1


def test_many_threads_lose_nothing():
    run = Run(queue=WorkQueue(4, Overflow.BLOCK), pairer=Pairer(max_frames=10_000))
    total = 400

    def feed(stream):
        for k in range(total):
            run.add(stream, k, mono8([[k % 3]]))
            run.pipeline.queue.wait_for_room()

    feeders = [threading.Thread(target=feed, args=(stream,)) for stream in Stream]
    for feeder in feeders:
        feeder.start()
    while run.pipeline.work(2):
        pass
    for feeder in feeders:
        feeder.join(10)
    assert run.pipeline.run.snapshot().counts.matrix.trace() == total
    assert sorted(outcome.position.sequence for outcome in run.outcomes) == [*range(1, total + 1)]
    run.check()


class Device:
    """Predicts while the CPU goes on: a batch is done when its result is asked for."""

    def __init__(self, fails=()):
        self.fails = fails
        self.events = []
        self.at_once = topic_predictor(label_map())
        self.predictor = Predictor(
            self.at_once.prepare, self.score, any_size=True, needs_worker=True
        )

    def score(self, images, ground_truths, *, keep_predictions, **_):
        batch = [int(image[0, 0]) for image in images]
        self.events.append(("start", *batch))
        scores = self.at_once.score(images, ground_truths, keep_predictions=keep_predictions)
        return UnderWay(self, batch, scores)


class UnderWay:
    def __init__(self, device, batch, scores):
        self.device, self.batch, self.scores = device, batch, scores

    def done(self):
        return False

    def result(self):
        self.device.events.append(("result", *self.batch))
        for error in self.device.fails:
            if error.args[0] in self.batch:
                raise error.args[1]
        return self.scores.result()


def test_the_next_batch_is_started_before_the_last_is_waited_for():
    device = Device()
    run = Run(predictor=device.predictor)
    for stamp in range(3):
        run.pair(stamp, [[stamp]], [[stamp]])
    assert run.pipeline.work(0) == 1
    assert run.outcomes == []
    assert run.pipeline.run.account.images.waiting == 3
    run.work()
    order = " ".join(name for name, _ in device.events)
    assert order == "start start result start result result"
    assert [outcome.image.stamp_ns for outcome in run.outcomes] == [0, 1, 2]
    assert run.pipeline.run.snapshot().counts.matrix.trace() == 3
    run.check()


def test_a_lone_frame_is_finished_at_once():
    run = Run(predictor=Device().predictor)
    run.pair(1, [[0]], [[0]])
    assert run.pipeline.work(0) == 1
    assert run.reasons() == {None: 1}


def test_what_is_under_way_is_finished_when_the_worker_stops():
    run = Run(predictor=Device().predictor)
    run.pair(1, [[0]], [[0]])
    run.pair(2, [[1]], [[1]])
    run.pipeline.work(0)
    run.pipeline.finish()
    assert run.reasons() == {None: 1}
    run.check()
    run.work()
    assert run.reasons() == {None: 2}


def test_a_failure_that_shows_late_costs_its_frame_only():
    late = Exception(1, FrameError(Reason.INFERENCE_FAILED, "late"))
    device = Device(fails=[late])
    run = Run(predictor=device.predictor, batch_size=2)
    for stamp in range(4):
        run.pair(stamp, [[stamp % 3]], [[0]])
    run.work()
    assert run.reasons() == {None: 3, Reason.INFERENCE_FAILED: 1}
    assert [outcome.image.stamp_ns for outcome in run.outcomes] == [0, 1, 2, 3]
    run.check()


def test_a_device_that_dies_late_is_loud_and_all_frames_in_hand_are_counted():
    run = Run(predictor=Device(fails=[Exception(1, RuntimeError("device lost"))]).predictor)
    for stamp in range(4):
        run.pair(stamp, [[stamp % 3]], [[0]])
    assert run.pipeline.work(0) == 1
    assert run.pipeline.work(0) == 1
    with pytest.raises(RuntimeError, match="device lost"):
        run.pipeline.work(0)
    assert run.reasons() == {None: 1, Reason.INFERENCE_FAILED: 2}
    assert len(run.pipeline.queue) == 1
    run.check()


@pytest.mark.parametrize("wanted", [True, False])
def test_predictions_are_kept_only_while_somebody_watches(wanted):
    run = Run(wants_predictions=lambda: wanted)
    run.pair(1, [[0, 2]], [[0, 1]])
    run.work()
    (outcome,) = run.outcomes
    assert outcome.counts.matrix.sum() == 2
    assert (outcome.prediction is not None) is wanted
    assert outcome.ground_truth.tolist() == [[0, 1]]
