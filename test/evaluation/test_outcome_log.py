"""What is said of frames while a pipeline runs, and how often."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import mono8

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.naming import Legends
from deeplab_miou.evaluation.outcome_log import LogLine, OutcomeLog
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.images.messages import RawImage
from deeplab_miou.labels.label_map import LabelMap

MAP = LabelMap.from_dict(
    {"name": "two", "classes": [{"name": "road", "ids": [7]}, {"name": "car", "ids": [26]}]}, "two"
)
TOPICS = {Stream.IMAGE: "/prediction", Stream.LABEL: "/labels"}
SECOND = 10**9


class Run:
    """A pipeline whose outcomes are logged, by a clock of the test's own."""

    def __init__(self):
        self.now_s = 0.0
        self.lines = []
        log = OutcomeLog(TOPICS, MAP, Legends(), lambda: self.now_s)
        self.pipeline = Pipeline(
            topic_predictor(MAP.of_train_ids()),
            MAP,
            on_outcome=lambda outcome: self.lines.extend(log.lines(outcome)),
        )

    def score(self, second, label):
        """Score a pair, both of whose stamps are this second."""
        self.pipeline.add(Stream.IMAGE, second * SECOND, "", mono8(np.zeros((2, 2))))
        self.pipeline.add(Stream.LABEL, second * SECOND, "", label)
        while len(self.pipeline.queue):
            self.pipeline.work(0.0)


def test_frames_that_are_scored_are_not_worth_a_line():
    run = Run()
    run.score(1, mono8(np.full((2, 2), 7)))
    assert run.pipeline.run.snapshot().counts.frames == 1
    assert run.lines == []


def test_lines_of_one_reason_come_every_few_seconds_and_say_how_many_were_held_back():
    run = Run()
    small = mono8(np.full((1, 2), 7))
    for second, now_s in ((1, 0.0), (2, 1.0), (3, 4.9), (4, 5.1)):
        run.now_s = now_s
        run.score(second, small)
    first, last = run.lines
    assert first.text.startswith(
        "pair of /prediction and /labels at 1.000 s not evaluated, size_mismatch: "
    )
    assert last.text.startswith("pair of /prediction and /labels at 4.000 s not evaluated")
    assert last.text.endswith("(2 more like it since the last such line)")


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (Stream.IMAGE, "image of /prediction at 1.000 s not evaluated, unmatched_image: "),
        (Stream.LABEL, "label of /labels at 1.000 s not evaluated, unmatched_label: "),
    ],
)
def test_what_nobody_can_do_anything_about_is_no_warning(stream, text):
    run = Run()
    run.pipeline.add(stream, SECOND, "", mono8(np.full((2, 2), 7)))
    run.pipeline.flush()
    (line,) = run.lines
    assert line.text.startswith(text)
    assert line.is_warning == (stream is Stream.LABEL)


def test_labels_that_the_map_does_not_know_are_named_once_a_minute():
    run = Run()
    label = mono8(np.array([[99, 99], [99, 7]]))
    for second, now_s in ((1, 0.0), (2, 59.0), (3, 61.0)):
        run.now_s = now_s
        run.score(second, label)
    assert run.lines == [
        LogLine(
            f"label of /labels at {second}.000 s: 75% of its pixels are not scored, label map two "
            "does not know raw id 99 (3 pixels)"
        )
        for second in (1, 3)
    ]


def test_a_label_that_cannot_be_read_is_named_by_its_topic():
    run = Run()
    broken = RawImage(2, 2, "mono8", is_bigendian=False, step=2, data=b"\x07")
    run.pipeline.add(Stream.LABEL, SECOND, "", broken)
    (line,) = run.lines
    assert line.text.startswith("label of /labels at 1.000 s not evaluated, truncated_data: ")
    assert line.is_warning
