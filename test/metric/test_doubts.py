from __future__ import annotations

import math
import re

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.metric.counts import Counts
from deeplab_miou.metric.doubts import find_doubts
from deeplab_miou.metric.scores import cohens_kappa

NAMES = ("road", "car")
GOOD = np.array([[900, 50, 5], [40, 800, 0]], np.int64)


@pytest.mark.parametrize("right", [0.0, 0.3, 1.0])
def test_kappa_agrees_with_scikit_learn(right):
    random = np.random.default_rng(1)
    truth = random.choice(4, 5000, p=[0.6, 0.2, 0.15, 0.05]).astype(np.uint8)
    # The last id is no class, and none of the ground truth's: it agrees with nothing.
    prediction = np.where(random.random(5000) < right, truth, random.integers(0, 5, 5000))
    matrix = confusion_matrix(truth, prediction.astype(np.uint8), 4)
    assert cohens_kappa(matrix) == pytest.approx(cohen_kappa_score(truth, prediction))
    assert cohens_kappa(10**12 * matrix) == pytest.approx(cohens_kappa(matrix))


def test_kappa_is_undefined_where_nothing_can_be_told_apart():
    assert math.isnan(cohens_kappa(np.zeros((2, 3), np.int64)))
    assert math.isnan(cohens_kappa(np.array([[7, 0, 0], [0, 0, 0]], np.int64)))


def test_a_sound_score_leaves_no_doubt():
    assert find_doubts(NAMES, Counts(GOOD, 100, 300, 100)) == []


@pytest.mark.parametrize(
    ("empty", "said"), [((1,), "in region 'far': "), ((0, 1), "in regions 'near', 'far': ")]
)
def test_regions_that_are_always_empty_are_told(empty, said):
    regions = np.stack((GOOD, GOOD))
    assert find_doubts(NAMES, Counts(GOOD, 100, regions=regions), ("near", "far")) == []
    regions[list(empty)] = 0
    (doubt,) = find_doubts(NAMES, Counts(GOOD, 100, regions=regions), ("near", "far"))
    assert said in doubt


def test_labels_that_the_map_does_not_know_are_told_with_their_share():
    (doubt,) = find_doubts(NAMES, Counts(GOOD, 100, 1795, 898))
    assert doubt.startswith("25% of the labels' pixels have ids or colours that the label map")
    (doubt,) = find_doubts(NAMES, Counts(np.zeros_like(GOOD), 100, 8, 8))
    assert doubt.startswith("100%")


def test_classes_in_another_order_are_doubted():
    (doubt,) = find_doubts(NAMES, Counts(GOOD[::-1].copy(), 100, 0, 0))
    assert "Cohen's kappa -0.8" in doubt


def test_a_few_frames_prove_nothing():
    assert find_doubts(NAMES, Counts(GOOD[::-1].copy(), 9, 8000, 8000)) == []


def test_a_class_that_no_label_holds_beside_unknown_ids_is_told_with_the_likely_key():
    """Cityscapes' instanceIds in place of labelIds: 26001 is unknown, and 26, car, never seen."""
    no_car = np.array([[900, 50, 5], [0, 0, 0]], np.int64)
    (doubt,) = find_doubts(NAMES, Counts(no_car, 2, 60, 50))
    assert doubt.startswith("no label holds car, while 4.93% of the labels' pixels")
    assert "id_divisor: 1000 and below_divisor: id" in doubt
    assert find_doubts(NAMES, Counts(no_car, 2, 60, 0)) == []


@pytest.mark.parametrize(
    ("depth", "text"),
    [
        ([9, 0, 100, 0, 0], "9 of 80 frames have no depth image that can be used"),
        ([70, 10, 1795, 0, 0], "no frame has a depth image that can be used"),
        ([0, 0, 0, 1795, 0], "no measurement of any labelled pixel"),
        ([0, 0, 0, 795, 1000], "in metres .32FC1. or millimetres"),
    ],
)
def test_depth_regions_that_lack_depth_are_doubted(depth, text):
    counts = Counts(GOOD, 80, depth=np.array(depth, np.int64))
    (doubt,) = find_doubts(NAMES, counts)
    assert re.search(text, doubt)


def test_a_few_frames_without_depth_are_counted_and_not_doubted():
    counts = Counts(GOOD, 80, depth=np.array([8, 0, 100, 600, 900], np.int64))
    assert find_doubts(NAMES, counts) == []
