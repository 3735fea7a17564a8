import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from deeplab_miou.metric.confusion import confusion_matrix, from_cells, to_cells, warm_up

TYPES = ["uint8", "uint16", "int32"]


@pytest.fixture
def rng():
    return np.random.default_rng(20240)


def slow_matrix(ground_truth, prediction, num_classes, ignore_index=255):
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    for g, p in zip(ground_truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if g != ignore_index:
            counts[g, p if 0 <= p < num_classes else num_classes] += 1
    return counts


def random_maps(rng, shape, num_classes, dtype="uint8", other="uint8"):
    ground_truth = rng.integers(0, num_classes, shape).astype(dtype)
    ground_truth[rng.random(shape) < 0.2] = 255
    return ground_truth, rng.integers(0, 256, shape).astype(other)


def coherent_maps(rng, shape, num_classes):
    """Runs of every length from one pixel to several words."""
    lengths = rng.choice([1, 2, 3, 5, 8, 13, 40, 200], size=shape[0] * shape[1])
    ids = rng.choice([*range(num_classes), 255], size=lengths.size)
    ground_truth = np.repeat(ids, lengths)[: shape[0] * shape[1]].astype(np.uint8).reshape(shape)
    prediction = np.roll(ground_truth, rng.integers(0, 20))
    return ground_truth, prediction


def test_worked_example():
    ground_truth = np.array([0, 1, 1, 0, 2], np.uint8)
    prediction = np.array([0, 1, 2, 0, 1], np.uint8)
    found = confusion_matrix(ground_truth, prediction, 3)
    assert found.tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert found.dtype == np.int64


@pytest.mark.parametrize("num_classes", [1, 2, 19, 150, 254, 255])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 64), (33, 129)])
def test_random_maps_match_the_definition(rng, num_classes, shape):
    for maps in (random_maps, coherent_maps):
        ground_truth, prediction = maps(rng, shape, num_classes)
        expected = slow_matrix(ground_truth, prediction, num_classes)
        np.testing.assert_array_equal(
            confusion_matrix(ground_truth, prediction, num_classes), expected
        )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("other", TYPES)
def test_types_mix(rng, dtype, other):
    ground_truth, prediction = random_maps(rng, (23, 45), 19, dtype, other)
    expected = slow_matrix(ground_truth, prediction, 19)
    np.testing.assert_array_equal(confusion_matrix(ground_truth, prediction, 19), expected)


def test_wide_ids_do_not_alias():
    ground_truth = np.array([0, 1, 1, 0], np.uint16)
    prediction = np.array([-1, 256, 2**31 - 1, -(2**31)], np.int32)
    assert confusion_matrix(ground_truth, prediction, 2).tolist() == [[0, 0, 2], [0, 0, 2]]
    foreign = np.array([0, 256, 65535, 256], np.uint16)
    with pytest.raises(ValueError, match=r"256 \(2 pixels\), 65535 \(1 pixels\)"):
        confusion_matrix(foreign, prediction, 2)
    ignored = np.array([0, 65535, 65535, 1], np.uint16)
    found = confusion_matrix(ignored, prediction, 2, ignore_index=65535)
    assert found.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_ignored_ground_truth_counts_nowhere():
    ground_truth = np.full((4, 16), 255, np.uint8)
    prediction = np.zeros((4, 16), np.uint8)
    assert not confusion_matrix(ground_truth, prediction, 19).any()


@pytest.mark.parametrize("ignore_index", [0, 1, 2, 254, 255, -1, 300])
def test_any_ignore_index(rng, ignore_index):
    ground_truth = rng.integers(0, 3, (9, 31)).astype(np.int32)
    ground_truth[rng.random((9, 31)) < 0.3] = ignore_index
    prediction = rng.integers(0, 5, (9, 31)).astype(np.uint8)
    expected = slow_matrix(ground_truth, prediction, 3, ignore_index)
    found = confusion_matrix(ground_truth, prediction, 3, ignore_index)
    np.testing.assert_array_equal(found, expected)
    if 0 <= ignore_index <= 255:
        found = confusion_matrix(ground_truth.astype(np.uint8), prediction, 3, ignore_index)
        np.testing.assert_array_equal(found, expected)


def test_ignore_index_that_uint8_cannot_hold():
    ids = np.array([[0, 1, 1, 0, 1, 1, 1, 1, 0]], np.uint8)
    assert confusion_matrix(ids, ids, 2, ignore_index=-1).tolist() == [[3, 0, 0], [0, 6, 0]]
    with pytest.raises(ValueError, match=r"255 \(1 pixels\)"):
        confusion_matrix(np.array([0, 255], np.uint8), np.zeros(2, np.uint8), 2, ignore_index=-1)


def views(rng):
    big = rng.integers(0, 5, (64, 96, 4)).astype(np.uint8)
    other = rng.integers(0, 7, (64, 96, 4)).astype(np.uint8)
    yield "padded rows", big[:, :70, 0].copy()[:, :61], other[:, :, 0].copy()[:, 3:64]
    yield "channel", big[..., 1], other[..., 2]
    yield "transposed", big[..., 0].copy().T, other[..., 0].copy().T
    yield "one transposed", big[:48, :48, 0].copy().T, other[:48, :48, 0].copy()
    yield "flipped", big[::-1, ::-1, 0], other[:, :, 0]
    yield "every other", big[::2, ::3, 0], other[::2, ::3, 0]
    yield "broadcast", np.broadcast_to(big[:1, :, 0], (64, 96)), other[..., 3]
    yield "batch", big, other
    yield "batch of views", big[:, ::2], other[:, ::2]
    yield "line", big[0, :, 0], other[0, :, 0]
    yield "empty", big[:0, :, 0], other[:0, :, 0]
    yield "no columns", big[:, :0, 0], other[:, :0, 0]
    yield "scalar", np.array(3, np.uint8), np.array(6, np.uint8)
    unaligned = np.frombuffer(b"\0" + big[..., 0].astype(np.int32).tobytes(), np.uint8)[1:]
    yield "unaligned", unaligned.view(np.int32).reshape(64, 96), other[..., 0]
    frozen = big[..., 0].copy()
    frozen.flags.writeable = False
    yield "read-only", frozen, np.frombuffer(other[..., 0].tobytes(), np.uint8).reshape(64, 96)


def test_strides_do_not_matter(rng):
    for name, ground_truth, prediction in views(rng):
        expected = slow_matrix(ground_truth, prediction, 5)
        found = confusion_matrix(ground_truth, prediction, 5)
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_passes_split_large_inputs(rng, monkeypatch):
    monkeypatch.setattr("deeplab_miou.metric.confusion._MAX_PASS", 100)
    for name, ground_truth, prediction in views(rng):
        expected = slow_matrix(ground_truth, prediction, 5)
        found = confusion_matrix(ground_truth, prediction, 5)
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("shape", [(8,), (64,), (1000,), (7, 13)])
@pytest.mark.parametrize("dtype", TYPES)
def test_foreign_ground_truth_is_named_and_leaves_out_alone(shape, dtype):
    ground_truth = np.zeros(shape, dtype)
    ground_truth.reshape(-1)[[3, -1]] = 19
    ground_truth.reshape(-1)[5] = 200
    out = np.full((19, 20), 7, np.int64)
    with pytest.raises(ValueError, match=r"19 \(2 pixels\), 200 \(1 pixels\)"):
        confusion_matrix(ground_truth, ground_truth, 19, out=out)
    assert (out == 7).all()


def test_many_foreign_ids_are_abridged():
    ids = np.arange(20, 200, dtype=np.uint8).reshape(10, 18)
    with pytest.raises(ValueError, match=r"24 \(1 pixels\), \.\.\.$"):
        confusion_matrix(ids, ids, 19)


def test_negative_ground_truth_is_foreign():
    ground_truth = np.array([0, -1], np.int32)
    with pytest.raises(ValueError, match=r"-1 \(1 pixels\)"):
        confusion_matrix(ground_truth, np.zeros(2, np.uint8), 2)


def test_out_is_added_to_and_returned(rng):
    ground_truth, prediction = random_maps(rng, (20, 30), 5)
    out = np.zeros((5, 6), np.int64)
    for times in (1, 2, 3):
        assert confusion_matrix(ground_truth, prediction, 5, out=out) is out
        assert (out == times * slow_matrix(ground_truth, prediction, 5)).all()


def test_arguments_are_checked():
    ids = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"same shape, but got \(2, 3\) and \(3, 2\)"):
        confusion_matrix(ids, ids.reshape(3, 2), 3)
    with pytest.raises(ValueError, match=r"prediction must be of type .*, but got float64"):
        confusion_matrix(ids, ids.astype(float), 3)
    with pytest.raises(ValueError, match=r"ground truth must be of type .*, but got >u2"):
        confusion_matrix(ids.astype(">u2"), ids, 3)
    with pytest.raises(ValueError, match=r"num_classes must be at least 1, but got 0"):
        confusion_matrix(ids, ids, 0)
    for out in (np.zeros((3, 3), np.int64), np.zeros((3, 4), np.int32)):
        with pytest.raises(ValueError, match=r"out must be int64 of shape \(3, 4\)"):
            confusion_matrix(ids, ids, 3, out=out)


def test_agrees_with_scikit_learn(rng):
    ground_truth, prediction = random_maps(rng, (60, 80), 19)
    valid = ground_truth != 255
    clipped = np.minimum(prediction, 19)
    expected = sklearn_metrics.confusion_matrix(
        ground_truth[valid], clipped[valid], labels=np.arange(20)
    )[:19]
    np.testing.assert_array_equal(confusion_matrix(ground_truth, prediction, 19), expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_classes=st.integers(1, 5))
def test_every_valid_pixel_counts_once(data, num_classes):
    size = data.draw(st.integers(0, 70))
    ids = st.lists(st.sampled_from([*range(num_classes), 255]), min_size=size, max_size=size)
    ground_truth = np.array(data.draw(ids), np.uint8)
    prediction = np.array(
        data.draw(st.lists(st.integers(0, 255), min_size=size, max_size=size)), np.uint8
    )
    found = confusion_matrix(ground_truth, prediction, num_classes)
    assert found.sum() == (ground_truth != 255).sum()
    np.testing.assert_array_equal(found, slow_matrix(ground_truth, prediction, num_classes))
    cut = data.draw(st.integers(0, size))
    parts = confusion_matrix(ground_truth[:cut], prediction[:cut], num_classes)
    confusion_matrix(ground_truth[cut:], prediction[cut:], num_classes, out=parts)
    np.testing.assert_array_equal(parts, found)


def test_allocates_nothing_of_the_size_of_an_image(rng):
    ground_truth, prediction = random_maps(rng, (1000, 2000), 19)
    warm_up()
    for view in (np.s_[:, :], np.s_[:, 1:1998], np.s_[:, ::2]):
        tracemalloc.start()
        confusion_matrix(ground_truth[view], prediction[view], 19)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000


def test_threads_count_alike(rng):
    ground_truth, prediction = random_maps(rng, (200, 300), 19)
    expected = slow_matrix(ground_truth, prediction, 19)
    found = [np.zeros((19, 20), np.int64) for _ in range(4)]

    def count(out):
        for _ in range(20):
            confusion_matrix(ground_truth, prediction, 19, out=out)

    threads = [threading.Thread(target=count, args=(out,)) for out in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for out in found:
        np.testing.assert_array_equal(out, 20 * expected)


def test_cells_round_trip(rng):
    counts = rng.integers(0, 3, (7, 8)) * rng.integers(1, 2**60, (7, 8))
    counts[1] = 0
    cells, values = to_cells(counts // 64)
    assert (cells.dtype, values.dtype) == (np.uint32, np.uint64)
    assert (np.diff(cells.astype(np.int64)) > 0).all()
    assert values.all()
    np.testing.assert_array_equal(from_cells(cells, values, 7), counts // 64)
    np.testing.assert_array_equal(from_cells(list(map(int, cells)), values, 7), counts // 64)


def test_cells_layout():
    matrix = np.zeros((3, 4), np.int64)
    matrix[1, 3] = 9
    matrix[2, 0] = 2**53 + 1
    cells, counts = to_cells(matrix)
    assert (cells.tolist(), counts.tolist()) == ([7, 8], [9, 2**53 + 1])
    assert not from_cells([], [], 3).any()
    assert from_cells([7, 7], [1, 2], 3)[1, 3] == 3


@pytest.mark.parametrize(
    ("cells", "counts", "words"),
    [
        ([12], [1], r"cells must lie in 0..11 for 3 classes, but got 12"),
        ([-1], [1], r"but got -1"),
        ([2**32 - 1], [1], r"but got 4294967295"),
        ([1, 2], [1], r"same length, but got 2 and 1"),
        ([1], [2**63], r"counts must be between 0 and 9223372036854775807"),
        ([1, 1], [2**62, 2**62], r"counts must be between 0 and"),
        ([1], [-1], r"counts must be between 0 and"),
        ([1.5], [1], r"cells must be a list of integers below 2\^64, but got float64"),
        ([1], [2**64], r"counts must be a list of integers"),
        ([[1]], [1], r"cells must be a list of integers"),
    ],
)
def test_cells_are_checked(cells, counts, words):
    with pytest.raises(ValueError, match=words):
        from_cells(cells, counts, 3)
