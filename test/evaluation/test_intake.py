"""Every message that arrives is told of and accounted for, whatever it holds."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import mono8
from video_files import encode, pictures
from video_messages import FOXGLOVE, serialise

from deeplab_miou.accounting import Stream
from deeplab_miou.bags.images import serialise_image
from deeplab_miou.evaluation.intake import Intake
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.images.cdr import StampedImage
from deeplab_miou.labels.label_map import load_label_map

MAP = load_label_map("cityscapes_train_ids")
SECOND = 10**9


class Run:
    """A pipeline of predictions and labels, and what its intake tells."""

    def __init__(self):
        self.pipeline = Pipeline(topic_predictor(MAP), MAP)
        self.arrived, self.readable, self.errors, self.messages = [], [], [], 0
        self.intake = Intake(
            self.pipeline,
            on_arrival=lambda *told: self.arrived.append(told),
            on_readable=lambda *told: self.readable.append(told),
            after_each=self.count,
            on_error=self.errors.append,
        )

    def count(self):
        self.messages += 1


def message(second, ids):
    return serialise_image(StampedImage(second * SECOND, "", mono8(np.array(ids))))


def test_images_and_labels_are_paired_and_scored():
    run = Run()
    run.intake.take(Stream.IMAGE, *message(1, [[0, 1], [2, 2]]))
    run.intake.take(Stream.LABEL, *message(1, [[0, 1], [2, 255]]))
    run.pipeline.work(0.0)
    counts = run.pipeline.run.snapshot().counts
    assert (counts.frames, counts.pixels, counts.ignored) == (1, 3, 1)
    assert run.arrived == run.readable == [(Stream.IMAGE, SECOND), (Stream.LABEL, SECOND)]
    assert run.messages == 2


@pytest.mark.parametrize(("kept", "stamp_ns"), [(16, SECOND), (3, None)])
def test_what_is_cut_off_is_counted_under_a_reason(kept, stamp_ns):
    run = Run()
    kind, data = message(1, [[0]])
    run.intake.take(Stream.LABEL, kind, bytes(data)[:kept])
    labels = run.pipeline.run.account.labels
    assert (labels.received, sum(labels.dropped.values())) == (1, 1)
    assert run.arrived == [(Stream.LABEL, stamp_ns)]
    assert run.readable == []
    assert run.messages == 1


def test_depth_images_are_counted_even_if_they_cannot_be_read():
    run = Run()
    kind, data = message(1, [[0]])
    run.intake.take_depth(kind, data)
    run.intake.take_depth(kind, bytes(data)[:16])
    assert run.pipeline.run.snapshot().depth_images == 2
    assert run.arrived == []
    assert run.messages == 2


def test_packets_of_a_video_are_decoded_by_a_thread_that_ends():
    run = Run()
    for place, _, data in encode("h264", pictures(5)):
        run.intake.take(Stream.IMAGE, FOXGLOVE, serialise(FOXGLOVE, place * SECOND, "h264", data))
    run.intake.stop()
    assert run.pipeline.run.account.images.received == 5
    assert run.arrived == [(Stream.IMAGE, place * SECOND) for place in range(5)]
    assert run.messages >= 5
    assert run.errors == []
