"""Random messages of evaluators go all the way to the scores and the report."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, StreamAccount
from rclpy.serialization import serialize_message

from deeplab_miou.aggregation.aggregate import Aggregate
from deeplab_miou.aggregation.messages import MAX_PIXELS, RefusedError
from deeplab_miou.nodes.publisher.outputs import mean_iou_message
from deeplab_miou.nodes.ros.conversions import frame_from_message, state_from_message
from deeplab_miou.report.live import LiveRun, save_report

NUMBERS = (
    0,
    1,
    2,
    7,
    1000,
    MAX_PIXELS - 1,
    MAX_PIXELS,
    MAX_PIXELS + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
TEXTS = ("", "/a", "/b", "/c", "x" * 300, "\x1b[31mred", "a\nb", "\0", "é€😀", "../..", "<script>")
PROVENANCES = (
    "",
    "null",
    "[]",
    "{}",
    '{"checkpoint": "a", "device": "cuda:7"}',
    '{"checkpoint": {"a": [1, {"b": []}]}, "bags": 5, "sources": [1], "mode": {}}',
    '{"a": NaN, "b": Infinity, "c": 1e999, "d": -1e-999}',
    '{"a": "\\ud800", "\\udfff": 1}',
    '{"a": ' + "9" * 4000 + "}",
    '{"a": ' + "9" * 5000 + "}",
    '{"a": ' + "[" * 600 + "]" * 600 + "}",
    '{"a": ' + "[" * 9000 + "]" * 9000 + "}",
    '{"a": ' + '{"b": ' * 600 + "1" + "}" * 601,
    "[" * 40000,
    "x" * 2**17,
)


class Hostile:
    """Makes messages of sound and of absurd parts."""

    def __init__(self, seed):
        self.random = random.Random(seed)  # noqa: S311  reproducible
        self._count = 0

    def _some(self, sound, absurd):
        return self.random.choice(absurd) if self.random.random() < 0.02 else sound

    def _number(self, most=None):
        """A small number, or with no limit one that grows with each message."""
        return self._some(self._count if most is None else self.random.randrange(most), NUMBERS)

    def _origin(self, message):
        message.source = self._some(self.random.choice(TEXTS[1:4]), TEXTS)
        message.run_id = self._some(str(self.random.randrange(3)), TEXTS)
        message.reset_count = self._some(self.random.randrange(2), (0, 1, 2**32 - 1))
        message.header.stamp.sec = self._some(self.random.randrange(100), (-(2**31), -1, 2**31 - 1))
        message.header.stamp.nanosec = self._some(0, (2**32 - 1, 10**9))

    def account(self):
        count = self._some(2, (0, 1, 3, 64, 65, 1000))
        reasons = [self._some(f"reason_{i}", TEXTS) for i in range(count)]
        dropped = [self._number(9) for _ in range(self._some(count, (0, 1, 5)))]
        return StreamAccount(
            received=self._number(50),
            evaluated=self._number(50),
            waiting=self._number(50),
            reasons=reasons,
            dropped=dropped,
        )

    def state(self):
        self._count += 1
        classes = self._some(2, (0, 1, 3, 255, 256, 300))
        message = ConfusionMatrix(
            sequence=self._number(),
            frames=self._number(),
            ignored_pixels=self._number(),
            unmapped_pixels=self._number(),
            frame_sequence=self._number(),
            images=self.account(),
            labels=self.account(),
            class_names=[self._some(f"c{i}", TEXTS) for i in range(classes)],
            configuration=self._some("x", TEXTS),
            provenance=self._some("", PROVENANCES),
        )
        self._origin(message)
        size = self._some(classes * (classes + 1), (0, 1, 6))
        numbers = np.zeros(size, np.uint64) + np.uint64(self._number())
        message.counts.frombytes(numbers.tobytes())
        return message

    def frame(self):
        count = self._some(2, (0, 1, 6, 1000, 70_000))
        message = FrameScore(
            sequence=self._number(), outcome=self._some("evaluated", ("", "queue_full", *TEXTS))
        )
        self._origin(message)
        most = self._some(6, (2**32 - 1,))
        message.cells.frombytes(np.arange(count, dtype=np.uint32).tobytes())
        if count and most != 6:
            message.cells[0] = most
        numbers = [self._number(1000)] * self._some(count, (0, 1, 3))
        message.counts.frombytes(np.array(numbers, np.uint64).tobytes())
        return message


@pytest.mark.parametrize("seed", range(4))
def test_random_messages_are_counted_or_refused_and_nothing_else(seed, tmp_path):
    hostile = Hostile(seed)
    sums = Aggregate(window_frames=hostile.random.choice([None, 5]))
    taken, refusals = 0, []
    for step in range(3000):
        try:
            if step % 3:
                taken += bool(sums.add_state(state_from_message(hostile.state()), float(step)))
            else:
                taken += bool(sums.add_frame(frame_from_message(hostile.frame())))
        except RefusedError as error:
            refusals.append(str(error))
        if step % 500 == 499:
            result, window = sums.result(float(step)), sums.window(float(step))
            for each in (result, window):
                assert (each.totals.counts.matrix >= 0).all()
                serialize_message(mean_iou_message(each))
            if result.totals.class_names:
                facts = LiveRun(sums.provenance(), sums.refused, sums.scoring, 0.0)
                save_report(str(tmp_path), result, window, facts)
                report = json.loads((tmp_path / "report.json").read_text())
                assert np.sum(report["confusion"]) == mean_iou_message(result).labelled_pixels
                page = (tmp_path / "report.html").read_text()
                assert "<script>" not in page
                assert "\x1b" not in page
            if hostile.random.random() < 0.3:
                sums.reset()
    assert taken > 100
    assert len(refusals) > 100
    assert all(line.isprintable() and len(line) < 1000 for line in refusals)


def test_sums_beyond_64_bits_are_refused_and_the_score_stays_right():
    sums = Aggregate()
    refusals = []
    for i in range(6000):
        message = ConfusionMatrix(
            source="/e", run_id=str(i), sequence=1, frames=MAX_PIXELS, class_names=["a", "b"]
        )
        message.counts.frombytes(np.array([MAX_PIXELS, 0, 0, 0, 0, 0], np.uint64).tobytes())
        message.images.received = MAX_PIXELS
        try:
            sums.add_state(state_from_message(message), 0.0)
        except RefusedError as error:
            refusals.append(error.kind)
    assert len(refusals) > 4000
    assert set(refusals) == {"overflow"}
    result = sums.result(0.0)
    assert result.scores.miou == 1
    assert serialize_message(mean_iou_message(result))
    sums.reset()
    message.run_id = "after"
    assert sums.add_state(state_from_message(message), 0.0)


def test_frames_beyond_64_bits_are_refused_and_the_window_stays_right():
    sums = Aggregate()
    state = ConfusionMatrix(source="/e", run_id="r", class_names=["a", "b"])
    state.counts.frombytes(np.array([1, 0, 0, 0, 0, 0], np.uint64).tobytes())
    sums.add_state(state_from_message(state), 0.0)
    refusals = []
    for i in range(3000):
        message = FrameScore(source="/e", run_id="r", sequence=i + 1, outcome="evaluated")
        message.header.stamp.sec = i // 20
        message.cells, message.counts = [0], [MAX_PIXELS]
        try:
            sums.add_frame(frame_from_message(message))
        except RefusedError as error:
            refusals.append(error.kind)
    assert len(refusals) > 1000
    assert set(refusals) == {"overflow"}
    assert sums.window(0.0).scores.miou == 1
    assert sums.result(0.0).intervals.miou[0] >= 0


@pytest.mark.parametrize("provenance", PROVENANCES[:-1], ids=range(len(PROVENANCES) - 1))
def test_whatever_the_provenance_there_is_a_report(provenance, tmp_path):
    sums = Aggregate()
    state = ConfusionMatrix(source="/e", run_id="r", class_names=["a"], provenance=provenance)
    state.counts.frombytes(np.array([5, 0], np.uint64).tobytes())
    sums.add_state(state_from_message(state), 0.0)
    facts = LiveRun(sums.provenance(), sums.refused, sums.scoring, 0.0)
    save_report(str(tmp_path), sums.result(0.0), sums.window(0.0), facts)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["confusion"] == [[5, 0]]
    assert report["provenance"]["mode"] == "live"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("source", "x" * 2**20, "its source 'xxxx"),
        ("source", "/a\x1b[2J", r"its source '/a\x1b[2J' has characters that do not print"),
        ("run_id", "x" * 300, "its run_id"),
        ("configuration", "x" * 300, "its configuration"),
        ("provenance", "x" * 2**17, "its provenance has 131072 characters, expected at most 65536"),
        ("class_names", ["a" * 300], "its class name"),
        ("class_names", ["a\nb"], "its class name"),
        ("images", StreamAccount(reasons=["x" * 300], dropped=[1]), "its reason"),
        (
            "labels",
            StreamAccount(reasons=["x"] * 65, dropped=[1] * 65),
            "its account has 65 reasons",
        ),
    ],
)
def test_what_a_state_says_beyond_its_counts_is_bounded(field, value, expected):
    state = ConfusionMatrix(source="/e", class_names=["a"], counts=[1, 0])
    setattr(state, field, value)
    with pytest.raises(RefusedError) as caught:
        state_from_message(state)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": "x" * 2**20}, "its source 'xxxx"),
        ({"run_id": "\n"}, "its run_id"),
        ({"cells": [0] * 65_281}, "it has 65281 cells, expected at most 65280"),
        ({"counts": [0] * 65_281}, "it has 65281 cells, expected at most 65280"),
    ],
)
def test_what_a_frame_says_is_bounded(fields, expected):
    with pytest.raises(RefusedError) as caught:
        frame_from_message(FrameScore(**{"source": "/e", **fields}))
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 300
