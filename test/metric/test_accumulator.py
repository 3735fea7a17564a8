import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from deeplab_miou.metric.accumulator import Accumulator

SECOND = 1_000_000_000
frame = hypothesis_numpy.arrays(np.int64, (2, 3), elements=st.integers(0, 2**40))
streams = st.lists(st.tuples(frame, st.integers(0, 12).map(lambda t: t * SECOND // 2)), max_size=14)


def one(value=1):
    return np.full((2, 3), value, np.int64)


def same(first, second):
    assert (first.counts.frames, first.window.frames) == (
        second.counts.frames,
        second.window.frames,
    )
    assert first.window_start_ns == second.window_start_ns
    assert first.window_end_ns == second.window_end_ns
    np.testing.assert_array_equal(first.counts.matrix, second.counts.matrix)


@settings(max_examples=150, deadline=None)
@given(streams, st.none() | st.integers(1, 5), st.none() | st.sampled_from([0.5, 1.0, 2.3]))
def test_window_is_the_newest_frames(stream, frames, seconds):
    accumulator = Accumulator(2, window_frames=frames, window_seconds=seconds)
    arrived = []
    for matrix, stamp in stream:
        accumulator.update(matrix, stamp)
        arrived = sorted([*arrived, (matrix, stamp)], key=lambda pair: pair[1])
        snapshot = accumulator.snapshot()
        assert snapshot.counts.frames == len(arrived)
        np.testing.assert_array_equal(snapshot.counts.matrix, sum(m for m, _ in arrived))
        if frames is None and seconds is None:
            assert snapshot.window is None
            continue
        inside = arrived[-frames:] if frames else arrived
        if seconds:
            inside = [pair for pair in inside if arrived[-1][1] - pair[1] < seconds * SECOND]
        assert snapshot.window.frames == len(inside)
        assert (snapshot.window_start_ns, snapshot.window_end_ns) == (inside[0][1], inside[-1][1])
        if len({stamp for _, stamp in arrived}) == len(arrived):
            np.testing.assert_array_equal(snapshot.window.matrix, sum(m for m, _ in inside))


@settings(max_examples=60, deadline=None)
@given(streams, st.randoms(use_true_random=False))
def test_order_does_not_matter(stream, random):
    stream = [(matrix, stamp + i) for i, (matrix, stamp) in enumerate(stream)]
    shuffled = list(stream)
    random.shuffle(shuffled)
    snapshots = []
    for order in (stream, shuffled):
        accumulator = Accumulator(2, window_frames=4, window_seconds=3.0)
        for matrix, stamp in order:
            accumulator.update(matrix, stamp)
        snapshots.append(accumulator.snapshot())
    same(*snapshots)
    np.testing.assert_array_equal(snapshots[0].window.matrix, snapshots[1].window.matrix)


@settings(max_examples=60, deadline=None)
@given(streams, st.integers(0, 14), st.integers(0, 14))
def test_parts_of_a_stream_add_up_to_the_whole(stream, first, second):
    cuts = sorted((first, second))
    parts = [stream[: cuts[0]], stream[cuts[0] : cuts[1]], stream[cuts[1] :]]
    whole = Accumulator(2)
    for matrix, stamp in stream:
        whole.update(matrix, stamp)
    snapshots = []
    for part in parts:
        accumulator = Accumulator(2)
        for matrix, stamp in part:
            accumulator.update(matrix, stamp)
        snapshots.append(accumulator.snapshot())
    assert (
        sum(each.counts.matrix for each in snapshots).tolist()
        == whole.snapshot().counts.matrix.tolist()
    )
    assert sum(each.counts.frames for each in snapshots) == whole.snapshot().counts.frames


def test_counts_beyond_31_and_53_bits():
    accumulator = Accumulator(2, window_frames=2)
    for value in (2**31, 2**32, 2**53 + 1):
        accumulator.update(one(value), value)
    snapshot = accumulator.snapshot()
    assert (snapshot.counts.matrix == 2**31 + 2**32 + 2**53 + 1).all()
    assert (snapshot.window.matrix == 2**32 + 2**53 + 1).all()


def test_snapshots_and_arguments_are_not_shared():
    accumulator = Accumulator(2, window_frames=1)
    matrix = one()
    accumulator.update(matrix, 1)
    matrix[:] = 99
    snapshot = accumulator.snapshot()
    snapshot.counts.matrix[:] = 50
    snapshot.window.matrix[:] = 50
    accumulator.update(one(2), 2)
    assert (accumulator.snapshot().counts.matrix == 3).all()
    assert (accumulator.snapshot().window.matrix == 2).all()


def test_reset():
    accumulator = Accumulator(2, window_seconds=1)
    accumulator.update(one(), 10**18)
    accumulator.reset()
    snapshot = accumulator.snapshot()
    assert (snapshot.counts.frames, snapshot.window.frames, snapshot.window_start_ns) == (
        0,
        0,
        None,
    )
    assert not snapshot.counts.matrix.any()
    accumulator.update(one(), 3)
    assert accumulator.snapshot().window_end_ns == 3


@pytest.mark.parametrize("options", [{"window_frames": 30}, {"window_seconds": 100.0}])
def test_window_follows_a_bag_that_loops(options):
    accumulator = Accumulator(2, **options)
    for turn in range(4):
        for i in range(600):
            accumulator.update(one(turn), i * SECOND // 20)
    snapshot = accumulator.snapshot()
    assert snapshot.window_end_ns == 599 * SECOND // 20
    assert snapshot.window.frames == options.get("window_frames", 600 - 9)
    assert snapshot.window.matrix[0, 0] == 3 * snapshot.window.frames


def test_late_frames_do_not_turn_back_the_window():
    accumulator = Accumulator(2, window_seconds=5)
    for i in range(100):
        accumulator.update(one(), i * SECOND)
        accumulator.update(one(), i * SECOND - 30 * SECOND)
    assert accumulator.snapshot().window_end_ns == 99 * SECOND
    assert accumulator.snapshot().window.frames == 5


def test_window_of_a_stopped_clock_is_bounded(monkeypatch):
    monkeypatch.setattr("deeplab_miou.metric.accumulator._MOST_FRAMES", 50)
    accumulator = Accumulator(2, window_seconds=1.0)
    for _ in range(200):
        accumulator.update(one(), 7)
    assert accumulator.snapshot().window.frames == 50
    assert accumulator.snapshot().counts.frames == 200


@settings(max_examples=60, deadline=None)
@given(streams.filter(bool), st.none() | st.integers(1, 5))
def test_several_frames_are_added_as_one_by_one(stream, frames):
    single, bulk = (Accumulator(2, window_frames=frames, window_seconds=2.0) for _ in range(2))
    for matrix, stamp in stream:
        single.update(matrix, stamp)
    bulk.update(np.stack([matrix for matrix, _ in stream]), [stamp for _, stamp in stream])
    same(single.snapshot(), bulk.snapshot())
    np.testing.assert_array_equal(single.snapshot().window.matrix, bulk.snapshot().window.matrix)


def test_window_holds_sparse_frames():
    accumulator = Accumulator(150, window_frames=300)
    matrix = np.zeros((150, 151), np.int64)
    matrix[3, :40] = 12345
    for i in range(400):
        accumulator.update(matrix, i)
    held = sum(f.cells.nbytes + f.counts.nbytes for f in accumulator._ring)
    assert held == 300 * 40 * 8


def test_threads_lose_nothing():
    accumulator = Accumulator(2, window_frames=10)

    def work(offset):
        for i in range(300):
            accumulator.update(one(), offset + i)
            accumulator.snapshot()

    threads = [threading.Thread(target=work, args=(k * 1000,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = accumulator.snapshot()
    assert snapshot.counts.frames == 1200
    assert (snapshot.counts.matrix == 1200).all()
    assert (snapshot.window.matrix == 10).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, but got 0"),
        ({"num_classes": 2, "window_frames": 0}, "window_frames must be at least 1, but got 0"),
        ({"num_classes": 2, "window_seconds": 0.0}, "window_seconds must be positive, but got 0.0"),
        ({"num_classes": 2, "window_seconds": float("nan")}, "must be positive, but got nan"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        Accumulator(**arguments)


def test_matrices_are_checked():
    accumulator = Accumulator(3)
    with pytest.raises(
        ValueError, match=r"\(3, 4\), or several of these, but got int64 of shape \(2"
    ):
        accumulator.update(one(), 1)
    with pytest.raises(ValueError, match=r"but got float64 of shape \(3, 4\)"):
        accumulator.update(np.zeros((3, 4)), 1)
    with pytest.raises(ValueError, match="2 frames must have as many stamps, not 1"):
        accumulator.update(np.zeros((2, 3, 4), np.int64), 1)
    assert accumulator.snapshot().counts.frames == 0
