import numpy as np
import pytest

from deeplab_miou.comparison.changes import (
    ChangedFrame,
    MostChanged,
    PixelChanges,
    disagree,
    pixel_changes,
)
from deeplab_miou.comparison.frames import common_frames
from deeplab_miou.report.frame_table import FrameTable

SECOND = 1_000_000_000
NAMES = ("road", "car")


def table(stamps_s, hits):
    """Frames of 100 pixels a class, of which so many are right."""
    counts = np.array([[[hit, 50], [10, 100 - hit], [100 - hit, 50]] for hit in hits], np.int64)
    stamps = np.array([round(s * SECOND) for s in stamps_s], np.int64)
    return FrameTable(NAMES, stamps, counts.reshape(-1, 3, 2))


def test_the_frames_that_changed_most_one_a_second():
    stamps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0]
    a = table(stamps, [50, 50, 50, 50, 50, 50])
    b = table(stamps, [40, 30, 45, 50, 90, 60])
    most = MostChanged()
    most.update_all(common_frames(a, b))
    assert [(each.stamp_ns, each.pixels) for each in most.worse] == [
        (1_500_000_000, -20),
        (2 * SECOND, -5),
    ]
    assert [(each.stamp_ns, each.pixels) for each in most.better] == [
        (4 * SECOND, 40),
        (5 * SECOND, 10),
    ]
    # By hand: road's IoU is 30 of 110 in place of 50 of 110, car's stays.
    assert most.worse[0].change == pytest.approx(
        (30 - 50) / 110 / 2 + ((50 / 220) - (50 / 200)) / 2, abs=0.02
    )


def test_which_frames_are_kept_does_not_depend_on_their_order():
    random = np.random.default_rng(1)
    frames = [
        ChangedFrame(int(stamp), 0.5, 0.5 + change, 0)
        for stamp, change in zip(
            random.integers(0, 60 * SECOND, 500), random.integers(-20, 21, 500) / 50, strict=True
        )
    ]
    # By brute force: the most of each second, then the most of these.
    expected = {}
    for sign in (-1, 1):
        of_second = {}
        for frame in frames:
            if sign * frame.change > 0:
                of_second.setdefault(frame.stamp_ns // SECOND, []).append(frame)
        best = [
            min(each, key=lambda f: (-abs(f.change), f.stamp_ns)) for each in of_second.values()
        ]
        best.sort(key=lambda f: (-abs(f.change), f.stamp_ns))
        expected[sign] = [each.stamp_ns for each in best[:5]]
    for _ in range(5):
        random.shuffle(frames)
        most = MostChanged()
        for frame in frames:
            most.update(frame)
        assert [each.stamp_ns for each in most.worse] == expected[-1]
        assert [each.stamp_ns for each in most.better] == expected[1]


def test_only_what_is_kept_is_drawn():
    most, drawn = MostChanged(most=1), []

    def draw():
        drawn.append(1)
        return np.zeros((2, 2, 3), np.uint8)

    for second, change in enumerate((0.1, 0.3, 0.2, np.nan, 0.0)):
        most.update(ChangedFrame(second * SECOND, 0.5, 0.5 + change, 1), draw)
    assert len(drawn) == 2
    assert most.better[0].stamp_ns == SECOND
    assert most.better[0].picture is not None


def test_pixels_that_changed_are_those_of_a_plain_loop():
    random = np.random.default_rng(2)
    truth = random.choice([0, 1, 2, 255], (20, 30)).astype(np.uint8)
    a, b = (random.choice([0, 1, 2, 3, 255], truth.shape).astype(np.uint8) for _ in range(2))
    found = pixel_changes(truth, a, b, 3) + PixelChanges.zero(3)
    right, wrong, differing = [0] * 3, [0] * 3, 0
    for t, x, y in zip(truth.flat, a.flat, b.flat, strict=True):
        differing += min(x, 3) != min(y, 3)
        if t < 3:
            right[t] += x != t and y == t
            wrong[t] += x == t and y != t
    assert found.right.tolist() == right
    assert found.wrong.tolist() == wrong
    assert (found.differing, found.pixels) == (differing, 600)
    assert found.disagreement == differing / 600
    assert disagree(a, b, 3).sum() == differing
    assert np.isnan(PixelChanges.zero(3).disagreement)
