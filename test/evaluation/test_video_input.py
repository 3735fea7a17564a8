"""A video as it arrives: decoded by a thread, in bounded memory, every packet accounted for."""

import threading
import time

import numpy as np
import pytest
from video_files import encode, pictures
from video_messages import FOXGLOVE, serialise

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.predictors import Predictor
from deeplab_miou.evaluation.queueing import WorkQueue
from deeplab_miou.evaluation.video_input import VideoInput
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.metric.frame_scores import score_labels

COUNT = 20
LABELS = load_label_map("cityscapes_train_ids")


def score(images, truths, *, keep_predictions, **_):
    """Predict the class that the red of a picture has."""
    predicted = [image[..., 0] % 19 for image in images]
    return score_labels(truths, predicted, 19, 255, keep_predictions=keep_predictions)


@pytest.fixture(scope="module")
def messages():
    packets = encode("h264", pictures(COUNT))
    return [serialise(FOXGLOVE, place * 10**8, "h264", data) for place, _, data in packets]


class Run:
    """A pipeline with a video; the thread that decodes goes on only while it may."""

    def __init__(self, **options):
        predictor = Predictor(decode_color, score, any_size=True, needs_worker=True)
        self.pipeline = Pipeline(predictor, LABELS, queue=WorkQueue(2))
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.errors = []
        self.video = VideoInput(
            self.pipeline, after_each=self.may_go_on.wait, on_error=self.errors.append, **options
        )

    def wait_for(self, received):
        deadline_s = time.monotonic() + 20
        while self.images.received < received:
            assert time.monotonic() < deadline_s, self.images
            time.sleep(0.001)

    @property
    def images(self):
        return self.pipeline.run.account.images


@pytest.fixture
def start():
    runs = []

    def make(**options):
        runs.append(Run(**options))
        return runs[-1]

    yield make
    for run in runs:
        run.may_go_on.set()
        run.video.stop()
        assert not run.errors


def test_pictures_wait_for_their_labels(messages, start):
    run = start()
    for data in messages:
        run.video.put(FOXGLOVE, data)
    run.wait_for(COUNT)
    assert (run.images.waiting, dict(run.images.dropped)) == (COUNT, {})


def test_what_is_queued_is_decoded_before_the_end(messages, start):
    run = start()
    for data in messages:
        run.video.put(FOXGLOVE, data)
    run.video.stop()
    assert run.images.received == run.images.waiting == COUNT


def test_what_arrives_too_fast_is_dropped_up_to_the_next_key_frame(messages, start):
    """Key frames are 0, 8 and 16."""
    run = start(most_packets=3)
    run.may_go_on.clear()
    run.video.put(FOXGLOVE, messages[0])
    run.wait_for(1)
    for data in messages[1:6]:
        run.video.put(FOXGLOVE, data)
    # 1, 2 and 3 wait; 4 and 5 find no room.
    assert dict(run.images.dropped) == {"queue_full": 2}
    run.may_go_on.set()
    run.wait_for(6)
    for k, data in enumerate(messages[6:], 6):
        run.video.put(FOXGLOVE, data)
        run.wait_for(k + 1)
    assert dict(run.images.dropped) == {"queue_full": 2, "lost_reference": 2}
    assert run.images.waiting == COUNT - 4


def test_a_source_that_can_wait_loses_nothing(messages, start):
    run = start(most_packets=2)
    run.pipeline.queue.pace(on=True)
    run.may_go_on.clear()
    source = threading.Thread(
        target=lambda: [run.video.put(FOXGLOVE, data) for data in messages], daemon=True
    )
    source.start()
    run.wait_for(1)
    source.join(0.1)
    assert source.is_alive()
    run.may_go_on.set()
    source.join(20)
    run.video.stop()
    assert (run.images.waiting, dict(run.images.dropped)) == (COUNT, {})


def test_bytes_that_are_no_packet_are_counted_and_spoil_what_follows(messages, start):
    run = start()
    for k, data in enumerate(messages[:9]):
        run.video.put(FOXGLOVE, data[:30] if k == 3 else data)
    run.wait_for(9)
    assert dict(run.images.dropped) == {"truncated_data": 1, "lost_reference": 4}


def test_pictures_are_scored_with_their_labels(messages, start):
    from image_files import mono8  # noqa: PLC0415

    run = start()
    truth = np.full((96, 128), 3, np.uint8)
    for k, data in enumerate(messages):
        run.pipeline.add(Stream.LABEL, k * 10**8, "", mono8(truth))
        run.video.put(FOXGLOVE, data)
        run.wait_for(k + 1)
        run.pipeline.work(0.0)
    assert run.images.evaluated == COUNT
    assert run.pipeline.run.snapshot().counts.matrix.sum() == COUNT * truth.size
