"""What the stamps of labels without an image suggest while they arrive."""

import pytest

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.lost_labels import REMEMBERED, LostLabels

IMAGE, LABEL = Stream.IMAGE, Stream.LABEL
MS = 1_000_000
STEP = 33 * MS
START = 10**18


def play(lost: LostLabels, count: int, offset_ns: int, *, every: int = 3) -> None:
    """Let images arrive, and labels of every third whose stamps are off."""
    for i in range(count):
        lost.arrived(IMAGE, START + i * STEP)
        if i % every == 0:
            lost.arrived(LABEL, START + i * STEP + offset_ns)


def test_labels_near_an_image_are_counted_with_the_tolerance_that_pairs_them() -> None:
    lost = LostLabels()
    play(lost, 90, -MS)
    # 20 labels lie more than a second before the newest image, at 89 * 33 ms: those of 0 to 57.
    (line,) = lost.findings()
    assert line.startswith("20 of 30 labels found no image, though one lies near 20 of them (1 ms")
    assert line.endswith("sync_tolerance 0.001 would pair these")


def test_a_part_of_the_labels_is_told_of_too() -> None:
    lost = LostLabels()
    play(lost, 90, 0)
    for i in range(0, 90, 3):
        lost.ended(START + i * STEP, None)
    lost.arrived(LABEL, START + 5 * STEP + 20)
    (line,) = lost.findings()
    assert line.startswith("1 of 31 labels found no image, though one lies near 1 of them (20 ns")


@pytest.mark.parametrize("reason", [None, Reason.BAD_ENCODING, Reason.QUEUE_FULL])
def test_labels_that_ended_otherwise_are_not_lost(reason: Reason | None) -> None:
    lost = LostLabels()
    play(lost, 90, -MS)
    for i in range(0, 90, 3):
        lost.ended(START + i * STEP - MS, reason)
    assert lost.findings() == []


def test_labels_that_wait_in_a_queue_or_within_the_tolerance_are_not_lost() -> None:
    exact, near = LostLabels(), LostLabels(2 * MS)
    play(exact, 90, 0)
    play(near, 90, -MS)
    assert exact.findings() == near.findings() == []


def test_a_label_whose_image_may_still_come_is_lost_once_it_is_given_up() -> None:
    lost = LostLabels()
    lost.arrived(IMAGE, START)
    lost.arrived(IMAGE, START + STEP)
    lost.arrived(LABEL, START + STEP + MS)
    assert lost.findings() == []
    lost.ended(START + STEP + MS, Reason.UNMATCHED_LABEL)
    assert "1 of 1 labels found no image" in lost.findings()[0]


def test_stamps_that_are_not_set_are_named() -> None:
    lost = LostLabels()
    for i in range(5):
        lost.arrived(IMAGE, START + i * STEP)
        lost.arrived(LABEL, 0)
    (line,) = lost.findings()
    assert line.startswith("5 of 5 labels have the stamp 0")


def test_memory_is_bounded_and_what_was_forgotten_is_not_misjudged() -> None:
    lost = LostLabels()
    play(lost, 90, MS)
    assert lost.findings()
    for i in range(90, 90 + 2 * REMEMBERED):
        lost.arrived(IMAGE, START + i * STEP)
    assert lost.findings() == []


def test_a_reset_forgets() -> None:
    lost = LostLabels()
    play(lost, 90, MS)
    lost.reset()
    assert lost.findings() == []


@pytest.mark.parametrize("tolerance", [0, 2 * MS])
def test_labels_that_come_when_their_image_is_no_longer_held(tolerance: int) -> None:
    lost = LostLabels(tolerance)
    for i in range(30):
        lost.arrived(IMAGE, START + i * STEP)
        lost.image_given_up(START + i * STEP)
    assert lost.findings() == []
    for i in range(0, 30, 3):
        lost.arrived(LABEL, START + i * STEP + tolerance)
    assert lost.findings() == []  # they may still find one
    for i in range(0, 30, 3):
        lost.ended(START + i * STEP + tolerance, Reason.UNMATCHED_LABEL)
    (line,) = lost.findings()
    assert line.startswith("10 of 10 labels and their images were not held at the same time")
    assert "raise hold_frames" in line


def test_a_label_whose_image_another_one_took_is_not_late() -> None:
    lost = LostLabels(2 * MS)
    lost.arrived(IMAGE, START)
    lost.arrived(IMAGE, START + STEP)
    lost.image_given_up(START + STEP)
    for offset in (0, MS):
        lost.arrived(LABEL, START + offset)
    lost.ended(START, None)
    lost.ended(START + MS, Reason.UNMATCHED_LABEL)
    assert lost.findings() == []
