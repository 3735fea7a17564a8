from __future__ import annotations

from array import array

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("deeplab_miou_msgs")

from builtin_interfaces.msg import Time
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, StreamAccount
from rclpy.serialization import serialize_message

from deeplab_miou.accounting import Account, StreamCounts
from deeplab_miou.aggregation.messages import EvaluatorState, RefusedError, RunSnapshot
from deeplab_miou.images.cdr import RAW_TYPE, read_image
from deeplab_miou.images.messages import RawImage
from deeplab_miou.metric.counts import Counts
from deeplab_miou.nodes.ros import conversions


@pytest.mark.parametrize(
    "nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789, -1, -(2**31) * 10**9]
)
def test_stamps_round_trip(nanoseconds):
    stamp = conversions.ns_to_time(nanoseconds)
    assert 0 <= stamp.nanosec < 10**9
    assert conversions.time_to_ns(stamp) == nanoseconds


def test_malformed_stamps_have_a_value_and_come_back_well_formed():
    surplus = conversions.time_to_ns(Time(sec=5, nanosec=2**32 - 1))
    assert surplus == 5 * 10**9 + 2**32 - 1
    assert conversions.ns_to_time(surplus) == Time(sec=9, nanosec=294967295)
    beyond = conversions.time_to_ns(Time(sec=2**31 - 1, nanosec=2**32 - 1))
    assert conversions.ns_to_time(beyond) == Time(sec=2**31 - 1, nanosec=10**9 - 1)


@pytest.mark.parametrize(("shape", "encoding"), [((3, 5), "mono8"), ((3, 5, 3), "rgb8")])
def test_image_message_round_trip_of_a_strided_array(shape, encoding):
    pixels = np.arange(np.prod(shape) * 2, dtype=np.uint8).reshape(*shape[:1], -1, *shape[2:])
    pixels = pixels[:, ::2]
    message = conversions.image_to_message(pixels, encoding, 3_000_000_007, "camera")
    stamped = read_image(serialize_message(message), RAW_TYPE)
    image = stamped.image
    assert isinstance(image, RawImage)
    assert (image.height, image.width, image.step) == (3, 5, 5 * (3 if len(shape) == 3 else 1))
    assert bytes(image.data) == pixels.tobytes()
    assert (stamped.stamp_ns, stamped.frame_id) == (3_000_000_007, "camera")


def test_image_message_of_nothing():
    message = conversions.image_to_message(np.zeros((0, 4, 3), np.uint8), "rgb8", 0, "")
    assert (message.height, message.width, len(message.data)) == (0, 4, 0)


def counts(received, evaluated, waiting, **dropped):
    return StreamCounts(received, evaluated, waiting, dropped)


def snapshot(matrix):
    return RunSnapshot(
        run_id="r",
        reset_count=2,
        frame_sequence=9,
        counts=Counts(matrix, frames=4, ignored=7, unmapped=3),
        stamp_ns=1_500_000_000,
        account=Account(counts(6, 4, 1, queue_full=1), counts(5, 4, 1)),
    )


def test_confusion_round_trip():
    matrix = np.arange(6, dtype=np.int64).reshape(2, 3)
    sent = EvaluatorState("/e", 11, snapshot(matrix), ("a", "b"), provenance="{}")
    state = conversions.state_from_message(conversions.state_to_message(sent))
    run = state.run
    assert run.counts.matrix.tolist() == matrix.tolist()
    assert state.order == (2, 11)
    assert (state.source, run.run_id, state.class_names) == ("/e", "r", ("a", "b"))
    assert (run.counts.frames, run.counts.ignored, run.counts.unmapped) == (4, 7, 3)
    assert (run.frame_sequence, run.stamp_ns) == (9, 1_500_000_000)
    assert run.account.images == StreamCounts(6, 4, 1, {"queue_full": 1})
    assert run.account.labels == StreamCounts(5, 4, 1)


def test_regions_of_a_state_round_trip():
    stack = np.arange(18, dtype=np.int64)[::-1].reshape(3, 2, 3)
    run = RunSnapshot("r", 0, Counts.of_stack(stack, 1))
    sent = EvaluatorState("/e", 1, run, ("a", "b"), region_names=("near", "far"))
    state = conversions.state_from_message(conversions.state_to_message(sent))
    assert state.axes == (("a", "b"), ("near", "far"))
    assert state.run.counts.stack.tolist() == stack.tolist()


def test_what_depth_regions_do_not_contain_round_trips():
    depth = np.array([2, 1, 70, 6, 5], np.int64)
    run = RunSnapshot("r", 0, Counts(np.ones((2, 3), np.int64), 4, depth=depth))
    message = conversions.state_to_message(EvaluatorState("/e", 1, run, ("a", "b")))
    assert conversions.state_from_message(message).run.counts.depth.tolist() == depth.tolist()
    for wrong, text in (([1, 2], "2 counts of depth"), ([0, 0, 2**60, 0, 0], "by depth")):
        message.depth = array("Q", wrong)
        with pytest.raises(RefusedError, match=text):
            conversions.state_from_message(message)


@pytest.mark.parametrize(
    ("regions", "counts", "text"),
    [
        (["near"], [1] * 3, "3 counts of regions, expected 2 for 1 regions"),
        (["near"], [1, 2], "more in a region"),
        (["n"] * 70, [0] * 140, "70 regions, expected at most 64"),
        (["\x1b[31m"], [0, 0], "region name .* do not print"),
    ],
)
def test_malformed_regions_are_refused_naming_the_source(regions, counts, text):
    message = ConfusionMatrix(
        source="/e", class_names=["a"], counts=[1, 1], region_names=regions, region_counts=counts
    )
    with pytest.raises(RefusedError, match=text) as caught:
        conversions.state_from_message(message)
    assert "'/e'" in str(caught.value)


def test_more_cells_of_regions_than_any_matrix_has_are_refused():
    message = FrameScore(source="/e", run_id="r")
    message.region_cells.frombytes(bytes(4 * (64 * 255 * 256 + 1)))
    with pytest.raises(RefusedError, match="4177921 cells of regions"):
        conversions.frame_from_message(message)


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (["a", "b"], [1] * 5, "5 counts, expected 6"),
        ([], [], "0 class names"),
        (["a"], [2**64 - 1, 2], "more than"),
        (["a"] * 300, [0] * (300 * 301), "300 class names"),
    ],
)
def test_malformed_confusion_is_refused_naming_the_source(names, values, expected):
    message = ConfusionMatrix(source="/e", class_names=names, counts=values)
    with pytest.raises(RefusedError, match=expected) as caught:
        conversions.state_from_message(message)
    assert "'/e'" in str(caught.value)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize("field", ["frames", "ignored_pixels", "unmapped_pixels", "frame_sequence"])
def test_absurd_numbers_are_refused(field):
    message = ConfusionMatrix(source="/e", class_names=["a"], counts=[1, 0], **{field: 2**64 - 1})
    with pytest.raises(RefusedError, match=f"'/e' refused: its {field} is 18446744073709551615"):
        conversions.state_from_message(message)


def test_absurd_accounts_and_sequences_are_refused():
    with pytest.raises(RefusedError, match="queue_full is"):
        conversions.stream_counts(StreamAccount(reasons=["queue_full"], dropped=[2**63]))
    with pytest.raises(RefusedError, match="frame of '/e' refused: its sequence"):
        conversions.frame_from_message(FrameScore(source="/e", sequence=2**63))


def test_account_with_unequal_lists_is_refused():
    with pytest.raises(RefusedError, match="1 reasons and 2 counts"):
        conversions.stream_counts(StreamAccount(reasons=["x"], dropped=[1, 2]))


def test_frame_score_without_cells_is_read():
    record = conversions.frame_from_message(FrameScore(outcome="evaluated"))
    assert record.cells.shape == record.counts.shape == (0,)
