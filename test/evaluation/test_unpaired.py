import numpy as np

from deeplab_miou.evaluation.unpaired import find_lost

MS = 1_000_000
IMAGES = np.arange(1, 31) * 100 * MS


def lost(labels, lost_labels=None):
    labels = np.array(labels, np.int64)
    missed = labels if lost_labels is None else np.array(lost_labels, np.int64)
    return find_lost(IMAGES, labels, missed, "--sync-tolerance")


def test_stamps_that_went_through_a_float_are_near():
    """Twenty to fifty nanoseconds off."""
    labels = IMAGES[:10] + np.array([20, -25, 30, 49, -49, 20, 21, 22, 23, 24])
    (line,) = lost(labels)
    assert line == (
        "10 of 10 labels found no image, though one lies near 10 of them (23.5 ns away in the "
        "median, 49 ns at most): --sync-tolerance 0.000000049 would pair these"
    )


def test_one_label_of_many_is_said():
    (line,) = lost(IMAGES, [IMAGES[3] + 2 * MS])
    assert line.startswith("1 of 30 labels found no image, though one lies near 1 of them (2 ms")
    assert "--sync-tolerance 0.002 would" in line


def test_labels_of_images_that_are_missing():
    first, second = lost([IMAGES[0] + MS, IMAGES[-1] + 5000 * MS])
    assert "near 1 of them" in first
    assert second == (
        "1 of 2 labels found no image; the nearest lies 5 s away or more: are images missing, or "
        "is a clock off?"
    )


def test_no_tolerance_is_suggested_that_would_pair_the_frame_before():
    """A best-effort camera of which every other image is lost; the labels all arrive."""
    (line,) = find_lost(IMAGES[::2], IMAGES, IMAGES[1::2], "--sync-tolerance")
    assert line == (
        "15 of 30 labels found no image; the nearest lies 100 ms away or more: are images missing, "
        "or is a clock off?"
    )


def test_stamps_that_were_never_set():
    (line,) = lost([0] * 30)
    assert line.startswith("30 of 30 labels have the stamp 0: the publisher must set")


def test_labels_whose_image_another_one_took():
    (line,) = lost([IMAGES[0], IMAGES[0]], [IMAGES[0]])
    assert line == (
        "1 of 2 labels found no image, because another label with the same stamp was paired with it"
    )


def test_a_clock_that_is_hours_off():
    (line,) = lost(IMAGES + 3 * 3600 * 1000 * MS)
    assert "the nearest lies 3 h away or more: are images missing, or is a clock off?" in line


def test_nothing_lost_is_nothing_said():
    assert lost(IMAGES, []) == []


def test_no_images_with_a_stamp():
    lines = find_lost(np.zeros(5, np.int64), IMAGES, IMAGES, "--sync-tolerance")
    assert lines[0].startswith("5 of 5 images have the stamp 0")
    assert lines[1] == "30 of 30 labels found no image, as there are no images with a stamp"
