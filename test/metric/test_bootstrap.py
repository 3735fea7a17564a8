import math
import random
import threading
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats  # comes with scikit-learn

from deeplab_miou.metric import resampling
from deeplab_miou.metric.blocks import MIN_BLOCKS
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.scores import compute_scores

SECOND = 1_000_000_000


def frames(count, num_classes=3, seed=1, step_ns=SECOND // 5):
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield rng.integers(1, 1000, (num_classes, num_classes + 1)), i * step_ns


def bounds_of(found):
    return [*found.miou, *found.iou.ravel()]


def fill(bootstrap, stream):
    for matrix, stamp in stream:
        bootstrap.update(matrix, stamp)
    return bootstrap


def test_intervals_hold_the_scores():
    stream = list(frames(400))
    found = fill(BlockBootstrap(3), stream).intervals()
    scores = compute_scores(sum(matrix for matrix, _ in stream))
    assert found.reason is None
    assert found.miou[0] < scores.miou < found.miou[1]
    assert (found.iou[:, 0] < scores.iou).all()
    assert (scores.iou < found.iou[:, 1]).all()
    assert found.miou[1] - found.miou[0] < 0.05
    assert MIN_BLOCKS <= found.blocks <= 64


def test_matches_resampling_written_out():
    bootstrap = fill(BlockBootstrap(3, replicates=200, seed=5), frames(100))
    found = bootstrap.intervals(class_weights=[1, 2, 0])
    blocks = bootstrap.blocks()
    while len(blocks) > found.blocks:
        blocks = blocks.paired()
    size = len(blocks)

    def weighted(total):
        iou = total[0] / total[1]
        return (iou[0] + 2 * iou[1]) / 3

    drawn = resampling._draw(np.random.default_rng(5), 200, size).astype(int)
    assert (drawn.sum(axis=1) == size).all()
    means = [weighted(np.einsum("b,bkc->kc", times, blocks.counts)) for times in drawn]
    quantile = stats.t.ppf(0.975, size - 1) * math.sqrt(size / (size - 1))
    level = NormalDist().cdf(-quantile)
    whole = blocks.counts.sum(axis=0)
    estimate = weighted(whole)
    # What leaving out a block changes, to first order.
    pull = np.array([estimate - weighted(whole - block) for block in blocks.counts])
    pull -= pull.mean()
    correlation = max(0, (pull[1:] * pull[:-1]).sum() / (pull**2).sum() + 2 / size)
    factor = math.sqrt((1 + correlation) / (1 - correlation))
    expected = estimate + factor * (np.quantile(means, [level, 1 - level]) - estimate)
    np.testing.assert_allclose(found.miou, expected, rtol=1e-3)


@pytest.mark.parametrize("freedom", [7, 8, 12, 31, 63])
@pytest.mark.parametrize("p", [0.9, 0.95, 0.975, 0.995])
def test_student_quantiles(freedom, p):
    assert resampling._student_t(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=2e-3)


def test_same_frames_and_seed_give_the_same_intervals():
    stream = list(frames(900))
    first = fill(BlockBootstrap(3, seed=4), stream)
    shuffled = list(stream)
    random.Random(2).shuffle(shuffled)  # noqa: S311 - not a secret
    second = fill(BlockBootstrap(3, seed=4), shuffled)
    other = fill(BlockBootstrap(3, seed=5), stream)
    assert first._sums.read().keys.tolist() == second._sums.read().keys.tolist()
    expected = bounds_of(first.intervals())
    assert bounds_of(first.intervals()) == expected
    assert bounds_of(second.intervals()) == expected
    assert bounds_of(other.intervals()) != expected


@pytest.mark.parametrize("blocks", range(MIN_BLOCKS))
def test_too_few_blocks_say_so(blocks):
    bootstrap = fill(BlockBootstrap(3, block_s=2), frames(blocks, step_ns=2 * SECOND))
    found = bootstrap.intervals()
    assert np.isnan(bounds_of(found)).all()
    assert found.blocks == blocks
    assert found.reason == (
        f"an interval needs 8 blocks of 2 s with labelled frames, but there are {blocks}"
    )


def test_frames_without_labels_are_no_blocks():
    bootstrap = BlockBootstrap(3)
    for i in range(100):
        bootstrap.update(np.zeros((3, 4), np.int64), i * SECOND)
    assert bootstrap.intervals().blocks == 0


def test_rare_and_absent_classes():
    bootstrap = BlockBootstrap(4)
    for matrix, stamp in frames(40, 4, step_ns=SECOND):
        matrix[3] = matrix[:, 3] = 0
        if stamp > 3 * SECOND:
            matrix[2] = matrix[:, 2] = 0
        bootstrap.update(matrix, stamp)
    found = bootstrap.intervals()
    assert np.isnan(found.iou).tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    assert not np.isnan(found.miou).any()
    zero = bootstrap.intervals(absent_classes="zero")
    assert zero.miou[1] < found.miou[1]


def test_weights_of_zero_give_a_reason():
    bootstrap = BlockBootstrap(2)
    for i in range(30):
        bootstrap.update(np.array([[5, 1, 0], [0, 0, 1]]) * (i % 3, 1, 1), i * SECOND)
    found = bootstrap.intervals(class_weights=[0, 0])
    assert np.isnan(found.miou).all()
    assert found.reason == "all class weights of the classes seen are zero"


def test_perfect_predictions_have_no_spread():
    bootstrap = BlockBootstrap(3)
    for i in range(200):
        bootstrap.update(np.eye(3, 4, dtype=np.int64) * (i * i + 3), i * SECOND)
    found = bootstrap.intervals()
    assert bounds_of(found) == [1.0] * 8


def test_correlated_blocks_are_paired():
    steady, wandering = BlockBootstrap(1), BlockBootstrap(1)
    rng = np.random.default_rng(8)
    quality = 0.5
    for i in range(60):
        quality = 0.95 * quality + 0.05 * rng.random()
        wandering.update(np.array([[round(1e6 * quality), round(1e6 * (1 - quality))]]), i * SECOND)
        own = 0.5 + (0.1 if i % 2 else -0.1) * rng.random()
        steady.update(np.array([[round(1e6 * own), round(1e6 * (1 - own))]]), i * SECOND)
    assert steady.intervals().blocks == 60
    assert wandering.intervals().blocks <= 15


def drive(seconds, seed, amplitude=0.1):
    """One class whose IoU is 0.5 on average and wanders within a tenth of a second."""
    quality = 0.5 + amplitude * np.random.default_rng(seed).standard_normal((seconds, 10))
    hits = np.rint(1e4 * np.clip(quality, 0, 1)).astype(np.int64).sum(axis=1)
    for second, hit in enumerate(hits):
        yield np.array([[hit, 100_000 - hit]]), second * SECOND


def test_bounds_for_every_moment_hold_at_every_moment():
    """bench/bootstrap_coverage.py --anytime in short: 60 streams, a look every 20 s."""
    wrong = wrong_at_once = looks = 0
    for seed in range(60):
        bootstrap = BlockBootstrap(1, replicates=100)
        missed, missed_at_once = False, False
        for second, (matrix, stamp) in enumerate(drive(600, seed), 1):
            bootstrap.update(matrix, stamp)
            if second % 20 == 0:
                found = bootstrap.intervals()
                lower, upper = found.miou_anytime
                looks += found.anytime_reason is None
                missed |= lower > 0.5 or upper < 0.5
                missed_at_once |= not found.miou[0] <= 0.5 <= found.miou[1]
        wrong += missed
        wrong_at_once += missed_at_once
    assert looks == 60 * 30
    assert wrong <= 6
    assert wrong_at_once >= 12


def test_bounds_for_every_moment_are_the_published_boundary():
    found = fill(BlockBootstrap(1), drive(64, 3))
    intervals = found.intervals()
    blocks = found.blocks()
    while len(blocks.paired()) >= 16:
        blocks = blocks.paired()
    size = len(blocks)
    assert size == 16
    hits, union = blocks.counts[:, :, 0].T
    estimate = hits.sum() / union.sum()
    residuals = (hits - estimate * union) / union.mean()
    # Theorem 2.2 of Waudby-Smith et al., a block as a sample; rho for 300 s in such blocks.
    alpha, length_s = 0.05, blocks.block_ns / SECOND
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / (300 / length_s)
    variance = residuals.var(ddof=1) * (size - 1) / stats.chi2.ppf(0.1, size - 1)
    mixed = size * rho2 + 1
    radius = math.sqrt(variance * 2 * mixed / (size**2 * rho2) * math.log(mixed**0.5 / alpha))
    correlation = max(0, (residuals[1:] @ residuals[:-1]) / (residuals @ residuals) + 3 / size)
    radius *= math.sqrt((1 + correlation) / (1 - correlation))
    expected = [estimate - radius, estimate + radius]
    np.testing.assert_allclose(intervals.miou_anytime, expected, atol=0.01 * radius)
    np.testing.assert_allclose(intervals.iou_anytime[0], expected, atol=0.01 * radius)


def test_bounds_for_every_moment_wait_for_sixteen_blocks():
    found = fill(BlockBootstrap(3), frames(15, step_ns=SECOND)).intervals()
    assert found.reason is None
    assert np.isnan(found.miou_anytime).all()
    assert np.isnan(found.iou_anytime).all()
    assert found.anytime_reason.startswith("anytime bounds need 16 blocks")


def test_interval_widens_with_confidence():
    widths = []
    for confidence in (0.5, 0.9, 0.95, 0.99):
        found = fill(BlockBootstrap(3, confidence=confidence), frames(300)).intervals()
        widths.append(found.miou[1] - found.miou[0])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] / 2


def test_reset():
    bootstrap = fill(BlockBootstrap(3, max_blocks=16), frames(900))
    assert bootstrap.timeline().block_ns > SECOND
    bootstrap.reset()
    assert bootstrap.intervals().blocks == 0
    once = fill(BlockBootstrap(3, max_blocks=16), frames(60))
    assert bounds_of(fill(bootstrap, frames(60)).intervals()) == bounds_of(once.intervals())


def test_threads_update_while_one_reads():
    bootstrap = BlockBootstrap(3, replicates=100)
    stream = list(frames(400))

    def work(part):
        fill(bootstrap, part)

    threads = [threading.Thread(target=work, args=(stream[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        bootstrap.intervals()
    for thread in threads:
        thread.join()
    alone = fill(BlockBootstrap(3, replicates=100), stream)
    assert bounds_of(bootstrap.intervals()) == bounds_of(alone.intervals())


def test_coverage():
    """bench/bootstrap_coverage.py in short: 95 % intervals hold the truth 95 times in 100."""
    rng = np.random.default_rng(11)
    held = frame_held = 0
    streams = 200
    for _ in range(streams):
        # One class at 10 Hz for 100 s whose IoU is 0.5 on average and wanders within seconds.
        quality = np.empty(1000)
        state = rng.standard_normal()
        for t in range(1000):
            state = 0.9 * state + math.sqrt(1 - 0.81) * rng.standard_normal()
            quality[t] = 0.5 + 0.1 * state
        hits = np.rint(1e4 * np.clip(quality, 0, 1)).astype(np.int64)
        bootstrap = BlockBootstrap(1, replicates=200)
        for second, block in enumerate(hits.reshape(100, 10)):
            bootstrap.update(np.array([[block.sum(), 100_000 - block.sum()]]), second * SECOND)
        lower, upper = bootstrap.intervals().miou
        held += lower <= 0.5 <= upper
        spread = 1.96 * quality.std() / math.sqrt(1000)
        frame_held += abs(quality.mean() - 0.5) <= spread
    assert 0.91 <= held / streams <= 0.99
    assert frame_held / streams < 0.6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, but got 0"),
        ({"max_blocks": 15}, "max_blocks must be at least 16, but got 15"),
        ({"replicates": 99}, "replicates must be at least 100, but got 99"),
        ({"seed": -1}, "seed must be at least 0, but got -1"),
        ({"block_s": 0.0}, "block_s must be at least a nanosecond, but got 0.0"),
        ({"block_s": math.inf}, "block_s must be at least a nanosecond, but got inf"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1, but got 1.0"),
    ],
)
def test_arguments_are_checked(arguments, words):
    with pytest.raises(ValueError, match=words):
        BlockBootstrap(**{"num_classes": 3} | arguments)


def test_matrices_and_options_are_checked():
    bootstrap = BlockBootstrap(3)
    with pytest.raises(ValueError, match=r"matrix must be int64 of shape \(3, 4\)"):
        bootstrap.update(np.zeros((3, 3), np.int64), 0)
    with pytest.raises(ValueError, match="class_weights must hold 3 numbers"):
        bootstrap.intervals(class_weights=[1])
    with pytest.raises(ValueError, match="exclude or zero"):
        bootstrap.intervals(absent_classes="drop")


def test_the_timeline_is_the_miou_of_each_block_in_order():
    bootstrap = BlockBootstrap(2, block_s=2.0)
    for stamp_s, right in ((5, 3), (0, 1), (4, 1), (1, 1)):
        matrix = np.array([[right, 1, 0], [0, 0, 0]], np.int64)
        bootstrap.update(matrix, stamp_s * 10**9)
    timeline = bootstrap.timeline()
    assert timeline.block_ns == 2 * 10**9
    assert timeline.starts_ns.tolist() == [0, 4 * 10**9]
    # Class 1 is predicted: its IoU is 0.
    assert timeline.miou.tolist() == pytest.approx([2 / 4 / 2, 4 / 6 / 2])
    assert BlockBootstrap(2).timeline().miou.shape == (0,)


@pytest.mark.parametrize("size", [1, 3, 64])
def test_frames_in_bulk_are_the_same_as_one_by_one(size):
    stream = [*frames(150), (np.zeros((3, 4), np.int64), 7 * SECOND)]
    one_by_one = fill(BlockBootstrap(3), stream)
    in_bulk = BlockBootstrap(3)
    for first in range(0, len(stream), size):
        matrices, stamps = zip(*stream[first : first + size], strict=True)
        in_bulk.update(np.stack(matrices), stamps)
    assert bounds_of(in_bulk.intervals()) == bounds_of(one_by_one.intervals())
    assert in_bulk.timeline().miou.tolist() == one_by_one.timeline().miou.tolist()


def test_what_was_added_may_be_used_again():
    stream = list(frames(20, step_ns=SECOND))
    matrices = np.stack([matrix for matrix, _ in stream])
    bootstrap = BlockBootstrap(3)
    bootstrap.update(matrices, [stamp for _, stamp in stream])
    before = bounds_of(bootstrap.intervals())
    matrices[:] = 0
    assert bounds_of(bootstrap.intervals()) == before


def test_bulk_without_a_stamp_each_is_refused():
    with pytest.raises(ValueError, match="zip"):
        BlockBootstrap(3).update(np.ones((2, 3, 4), np.int64), [0])
