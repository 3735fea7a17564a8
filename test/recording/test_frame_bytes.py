from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy")
pytest.importorskip("deeplab_miou_msgs")

from deeplab_miou_msgs.msg import FrameScore
from rclpy.serialization import deserialize_message, serialize_message

from deeplab_miou.accounting import Reason
from deeplab_miou.evaluation.outcomes import Arrival, FrameOutcome, Timing
from deeplab_miou.evaluation.run_state import RunPosition
from deeplab_miou.metric.confusion import from_cells
from deeplab_miou.metric.counts import Axes, Counts
from deeplab_miou.nodes.ros.conversions import frame_from_message
from deeplab_miou.recording.frame_bytes import encode_frame


def decoded(outcome, source="/e", run_id="r"):
    return deserialize_message(encode_frame(outcome, source=source, run_id=run_id), FrameScore)


def test_evaluated_frame_round_trip():
    matrix = np.array([[0, 5, 1], [0, 2, 0]], np.int64)
    image, label = (
        Arrival(stamp, frame, None, 0.0, 0) for stamp, frame in ((10, "camera"), (12, "labels"))
    )
    outcome = FrameOutcome(
        image,
        label,
        None,
        "",
        RunPosition(1, 8),
        counts=Counts(matrix, 1, ignored=3),
        ground_truth=np.zeros((2, 4), np.uint8),
        timing=Timing(inference_s=0.5),
    )
    message = decoded(outcome)
    assert (message.stream, message.outcome) == ("pair", "evaluated")
    assert (message.height, message.width) == (2, 4)
    assert (message.labelled_pixels, message.invalid_predictions) == (8, 1)
    assert (message.header.stamp.nanosec, message.label_stamp.nanosec) == (10, 12)
    assert message.header.frame_id == "camera"
    assert message.inference_seconds == 0.5
    assert message.miou == pytest.approx((0 + 2 / 7) / 2)
    record = frame_from_message(message)
    assert record.evaluated
    assert (record.reset_count, record.sequence, record.stamp_ns) == (1, 8, 10)
    assert from_cells(record.cells, record.counts, 2).tolist() == matrix.tolist()


@pytest.mark.parametrize("regions", [1, 3])
def test_regions_of_a_frame_round_trip(regions):
    stack = np.arange(8, 8 * (1 + regions) + 8, dtype=np.int64)[::-1].reshape(-1, 2, 4)[:, :, :3]
    stack[1:, 0, 1] = 0
    image = Arrival(10, "camera", None, 0.0, 0)
    counts = Counts.of_stack(stack, 1)
    outcome = FrameOutcome(image, image, None, "", RunPosition(0, 1), counts=counts)
    message = decoded(outcome)
    axes = Axes(("a", "b"), tuple("rst"[:regions]))
    assert frame_from_message(message).counted(axes).stack.tolist() == stack.tolist()


def test_dropped_label_becomes_a_frame_score():
    label = Arrival(12, "labels", None, 0.0, 0)
    outcome = FrameOutcome(None, label, Reason.UNMATCHED_LABEL, "no image", RunPosition(0, 1))
    message = decoded(outcome)
    assert (message.stream, message.outcome) == ("label", "unmatched_label")
    assert message.header.stamp == message.label_stamp
    assert len(message.cells) == 0
    assert not frame_from_message(message).evaluated
    assert np.isnan(message.miou)


def miou_of(cells):
    """Return mIoU of two classes' counts over those in the ground truth."""
    a, ab, a_invalid, ba, b, b_invalid = cells
    ious = [
        hits / (truth + predicted)
        for hits, truth, predicted in ((a, a + ab + a_invalid, ba), (b, ba + b + b_invalid, ab))
        if truth
    ]
    return sum(ious) / len(ious) if ious else np.nan


texts = st.text(max_size=9).filter(lambda text: "\0" not in text and text.isprintable())


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    texts=st.tuples(texts, texts, texts, texts),
    cells=st.lists(st.integers(0, 2**40), min_size=6, max_size=6) | st.none(),
    parts=st.sampled_from(["pair", "image", "label"]),
    stamps=st.tuples(st.integers(-(10**18), 10**18), st.integers(0, 2**62)),
)
def test_the_middleware_reads_what_was_written(texts, cells, parts, stamps):
    frame_id, source, run_id, message = texts
    outcome = FrameOutcome(
        None if parts == "label" else Arrival(stamps[0], frame_id, None, 0.0, 0),
        None if parts == "image" else Arrival(stamps[1], frame_id, None, 0.0, 0),
        Reason.QUEUE_FULL if cells is None else None,
        message,
        RunPosition(2**32 - 1, 2**63 - 1),
        counts=None
        if cells is None
        else Counts(np.array(cells, np.int64).reshape(2, 3), 1, 2**40, 7),
        ground_truth=None if cells is None else np.zeros((3, 5), np.uint8),
        timing=Timing(0.25, 0.5, 1.0, 2.0, 4.0),
    )
    data = encode_frame(outcome, source=source, run_id=run_id)
    found = deserialize_message(data, FrameScore)
    assert (found.header.frame_id, found.source, found.run_id, found.message) == texts
    assert found.stream == parts
    assert (found.reset_count, found.sequence) == (2**32 - 1, 2**63 - 1)
    assert (found.ignored_pixels, found.unmapped_pixels) == (
        (0, 0) if cells is None else (2**40, 7)
    )
    assert (found.queue_seconds, found.decode_seconds, found.inference_seconds) == (0.25, 0.5, 1)
    assert (found.counting_seconds, found.latency_seconds) == (2, 4)
    assert list(found.counts) == [count for count in cells or [] if count]
    assert found.miou == pytest.approx(miou_of(cells or 6 * [0]), nan_ok=True)
    assert len(serialize_message(found)) == len(data)
