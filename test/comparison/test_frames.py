import numpy as np
import pytest

from deeplab_miou.comparison.frames import common_frames
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.report.frame_table import FrameTable

SECOND = 1_000_000_000
NAMES = ("road", "car")


def table(stamps_s, hits, names=NAMES):
    """Frames of 100 pixels a class, of which so many are right."""
    counts = np.array([[[hit, 50], [10, 100 - hit], [100 - hit, 50]] for hit in hits], np.int64)
    return FrameTable(
        names, np.array([round(s * SECOND) for s in stamps_s], np.int64), counts.reshape(-1, 3, 2)
    )


def test_frames_are_paired_by_stamp_whatever_their_order():
    found = common_frames(table([1, 2, 3, 4], [10, 20, 30, 40]), table([4, 9, 2], [44, 99, 22]))
    assert found.a.stamps_ns.tolist() == found.b.stamps_ns.tolist() == [2 * SECOND, 4 * SECOND]
    assert found.a.counts[:, 0, 0].tolist() == [20, 40]
    assert found.b.counts[:, 0, 0].tolist() == [22, 44]
    assert (found.only_a, found.only_b) == (2, 1)


def test_the_rounds_of_a_looping_bag_are_paired_in_order():
    a = table([1, 2, 1, 2, 1], [11, 12, 21, 22, 31])
    b = table([1, 1, 2], [13, 23, 14])
    found = common_frames(a, b)
    pairs = [
        (int(x), int(y))
        for x, y in zip(found.a.counts[:, 0, 0], found.b.counts[:, 0, 0], strict=True)
    ]
    assert pairs == [(11, 13), (12, 14), (21, 23)]
    assert (found.only_a, found.only_b) == (2, 0)


def test_other_ground_truth_is_refused():
    b = table([1, 2], [10, 20])
    b.counts[1, 2, 1] += 1
    with pytest.raises(ConfigurationError, match=r"ground truth in 1 of 2 .*stamp 2\.000000000"):
        common_frames(table([1, 2], [10, 20]), b)


def test_other_classes_are_refused():
    for names, difference in (
        (("road", "bus"), "only A has car and only B has bus"),
        (("car", "road"), "the same in another order"),
    ):
        with pytest.raises(ConfigurationError, match=rf"different classes \({difference}\): "):
            common_frames(table([1], [1]), table([1], [1], names))


def test_runs_may_have_no_frame_in_common():
    found = common_frames(table([1], [1]), table([], []))
    assert (len(found.a.stamps_ns), found.only_a, found.only_b) == (0, 1, 0)
