import numpy as np
import pytest

from deeplab_miou.metric.blocks import BlockSums, TimeBlocks, decorrelated, influence, widening
from deeplab_miou.metric.scores import compute_scores

SECOND = 1_000_000_000
ONE = np.ones((2, 3), np.int64)


def make(**options):
    return BlockSums((2, 3), **{"block_s": 1.0, "max_blocks": 16} | options)


def test_memory_does_not_grow():
    sums = make()
    for i in range(5000):
        sums.add([(ONE, i * SECOND)])
    blocks = sums.read()
    assert 8 <= len(blocks) <= 16
    assert blocks.counts[:, 0, 0].sum() == 5000
    assert blocks.block_ns == 512 * SECOND
    assert blocks.observed_s == 512 * len(blocks)


def test_pairing_adds_up_neighbours():
    sums = make(block_s=0.5)
    rng = np.random.default_rng(1)
    stream = [(rng.integers(1, 1000, (2, 3)), i * SECOND // 4) for i in range(300)]
    sums.add(stream)
    blocks = sums.read()
    assert blocks.block_ns == 8 * SECOND
    for key, counts in zip(blocks.keys, blocks.counts, strict=True):
        inside = sum(each for each, stamp in stream if stamp // (8 * SECOND) == key)
        np.testing.assert_array_equal(counts, inside)
    twice = blocks.paired()
    assert twice.block_ns == 16 * SECOND
    assert twice.keys.tolist() == sorted({key // 2 for key in blocks.keys.tolist()})
    np.testing.assert_array_equal(twice.counts.sum(axis=0), blocks.counts.sum(axis=0))
    np.testing.assert_array_equal(twice.counts[0], blocks.counts[0] + blocks.counts[1])


def test_far_and_negative_stamps():
    sums = make()
    rng = np.random.default_rng(0)
    for stamp in [-(2**62), -1, 0, 2**62, *rng.integers(-(2**62), 2**62, 60).tolist()]:
        sums.add([(ONE, stamp)])
    assert len(sums.read()) <= 16
    assert sums.read().counts[:, 0, 0].sum() == 64


def test_sessions_years_apart_keep_their_blocks():
    sums = make(max_blocks=64)
    for session in range(3):
        sums.add((ONE, session * 10**17 + i * SECOND) for i in range(20))
    assert len(sums.read()) == 60


def test_nothing_is_read_before_anything_came():
    blocks = make().read()
    assert len(blocks) == 0
    assert blocks.counts.shape == (0, 2, 3)


def test_influence_is_what_leaving_a_block_out_changes():
    rng = np.random.default_rng(7)
    matrices = rng.integers(100, 120, (200, 3, 4))
    counts = np.stack(
        [
            (s.true_positive, s.true_positive + s.false_positive + s.false_negative)
            for s in map(compute_scores, matrices)
        ]
    ).astype(np.float64)
    weights = np.array([1.0, 2.0, 0.0])
    pulls = influence(counts, weights)
    whole = compute_scores(matrices.sum(axis=0), class_weights=weights)
    for block in (0, 57, 199):
        rest = compute_scores(matrices.sum(axis=0) - matrices[block], class_weights=weights)
        change = [whole.weighted_miou - rest.weighted_miou, *(whole.iou - rest.iou)]
        np.testing.assert_allclose(pulls[block], change, rtol=0.02, atol=1e-7)


def test_influence_of_absent_classes_is_nothing():
    counts = np.array([[[3.0, 0], [4, 0]], [[1.0, 0], [4, 0]]])
    pulls = influence(counts, np.ones(2))
    assert pulls.tolist() == [[0.125, 0.125, 0.0], [-0.125, -0.125, 0.0]]
    halved = influence(counts, np.ones(2), "zero")
    assert halved[:, 0].tolist() == [0.0625, -0.0625]


def test_blocks_that_are_alike_are_paired():
    def terms(counts):
        return counts - counts.mean(axis=0)

    keys = np.arange(60)
    swinging = TimeBlocks(SECOND, keys, 100 + 50 * (-1) ** keys[:, np.newaxis])
    assert len(decorrelated(swinging, terms)) == 60
    drifting = TimeBlocks(SECOND, keys, keys[:, np.newaxis])
    assert len(decorrelated(drifting, terms)) == 8


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_widening_makes_up_for_an_ar1_process(correlation):
    rng = np.random.default_rng(3)
    values = rng.standard_normal(20_000)
    for t in range(1, len(values)):
        values[t] = correlation * values[t - 1] + (1 - correlation**2) ** 0.5 * values[t]
    still = rng.standard_normal(len(values))
    factor = widening(np.stack((values, still), axis=1))
    expected = ((1 + correlation) / (1 - correlation)) ** 0.5
    assert factor[0] == pytest.approx(expected, rel=0.03)
    # The first statistic's correlation widens the others too.
    assert factor[1] >= factor[0]


def test_widening_of_what_does_not_vary():
    assert widening(np.zeros((10, 2))).tolist() == pytest.approx([(1.2 / 0.8) ** 0.5] * 2)


def test_cells_add_up_as_whole_counts_do():
    rng = np.random.default_rng(0)
    whole, sparse = (BlockSums((3, 50), block_s=1.0, max_blocks=16) for _ in range(2))
    for second in rng.permutation(40):
        cells = rng.choice(150, 7, replace=False)
        counts = rng.integers(1, 1000, 7)
        dense = np.zeros(150, np.int64)
        dense[cells] = counts
        whole.add([(dense.reshape(3, 50), int(second) * 1_000_000_000)])
        sparse.add_cells([(cells, counts, int(second) * 1_000_000_000)])
    one, other = whole.read(), sparse.read()
    assert len(one) <= 16
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.counts, other.counts)
