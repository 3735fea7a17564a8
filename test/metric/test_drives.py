import numpy as np
import pytest

from deeplab_miou.metric.bootstrap import IouStatistics, find_intervals
from deeplab_miou.metric.drives import MIN_DRIVES, DriveSums
from deeplab_miou.metric.resampling import Resampling

SECOND = 1_000_000_000
STATISTICS = IouStatistics(np.ones(2), "exclude")


def drive(random, frames, spread=0.1):
    """Counts of a drive as good or bad as a whole as its street is, (frames, 2, 2)."""
    quality = (
        0.7 + spread * random.uniform(-1, 1, (1, 2)) + 0.02 * random.standard_normal((frames, 2))
    )
    union = np.full((frames, 2), 10_000)
    return np.stack((np.rint(quality * union), union), axis=1).astype(np.int64)


def sums_of(drives, begins_s=None):
    sums = DriveSums((2, 2))
    for k, counts in enumerate(drives):
        begin = 0 if begins_s is None else begins_s[k]
        sums.add(counts, (begin + np.arange(len(counts))) * SECOND)
    return sums


def test_blocks_of_few_drives_are_never_added_into_one():
    """Stamps of all begin at 0; then a drive's end is the next one's beginning."""
    random = np.random.default_rng(1)
    drives = [drive(random, 100) for _ in range(5)]
    totals = [each.sum(axis=0).tolist() for each in drives]
    for begins in (None, [0, 100, 200, 300, 400], [1_700_000_000, 0, 7, 5, 1]):
        blocks = sums_of(drives, begins).read()
        assert not blocks.are_drives
        assert 5 < len(blocks) <= 64
        for _ in range(40):
            blocks = blocks.paired()
        assert blocks.counts.tolist() == totals


def test_frames_and_drives_without_labels_make_no_block():
    random = np.random.default_rng(2)
    nothing = np.zeros((50, 2, 2), np.int64)
    drives = [drive(random, 3) for _ in range(MIN_DRIVES)]
    padded = [np.concatenate((each, nothing)) for each in drives]
    assert not sums_of([*drives[1:], nothing, nothing[:0]]).read().are_drives
    blocks = sums_of([nothing, nothing[:0], *padded]).read()
    assert blocks.are_drives
    assert len(blocks) == MIN_DRIVES
    assert np.array_equal(blocks.counts, [each.sum(axis=0) for each in drives])
    summed = sums_of(padded).read().counts.sum(axis=0)
    assert np.array_equal(summed, np.concatenate(drives).sum(axis=0))


def test_an_interval_over_drives_does_not_narrow_with_their_length():
    widths = []
    for frames in (5, 500):
        random = np.random.default_rng(3)
        found = find_intervals(
            sums_of([drive(random, frames) for _ in range(20)]).read(), STATISTICS, Resampling()
        )
        assert found.unit == "drives"
        assert found.blocks == 20
        assert np.isnan(found.miou_anytime).all()
        assert "drives were resampled" in found.anytime_reason
        widths.append(found.miou[1] - found.miou[0])
    assert widths[1] == pytest.approx(widths[0], rel=0.4)


@pytest.mark.parametrize("count", [16, 40])
def test_intervals_over_drives_hold_the_truth(count):
    """Drives of 10 to 200 frames whose quality is that of the street: coverage of 95 %."""
    held = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        drives = [drive(random, random.integers(10, 200)) for _ in range(count)]
        lower, upper = find_intervals(sums_of(drives).read(), STATISTICS, Resampling(200)).miou
        held += lower <= 0.7 <= upper
    assert held >= 183  # 95 % less 2.3 standard errors
