"""Types of mistakes and boundary IoU against the papers' definitions, written out slowly."""

import time

import numpy as np
import pytest
from scipy import ndimage

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.metric.error_types import (
    TYPES,
    count_boundaries,
    count_error_types,
)
from deeplab_miou.metric.scores import class_counts

IGNORE = 255
SQUARE = np.ones((3, 3), bool)


def maps(seed, *, ignored):
    """Return ground truth and prediction of smooth shapes, and their number of classes."""
    rng = np.random.default_rng(seed)
    height, width, n = rng.integers(24, 40), rng.integers(24, 40), int(rng.integers(2, 6))
    base, noise = (
        np.stack(
            [ndimage.gaussian_filter(layer, 3) for layer in rng.normal(size=(n, height, width))]
        )
        for _ in range(2)
    )
    truth = base.argmax(0).astype(np.uint8)
    prediction = (base + 0.7 * noise).argmax(0).astype(np.uint8)
    prediction[rng.random(prediction.shape) < 0.01] = n
    if ignored:
        truth[ndimage.gaussian_filter(rng.normal(size=truth.shape), 3) > 0.1] = IGNORE
    return truth, prediction, n


def grown(mask, reach):
    """Dilate by pixels that are as near, in whole pixels, one pixel at a time."""
    y, x = np.indices(mask.shape)
    result = mask.copy()
    for row, column in np.argwhere(mask):
        result |= np.round(np.hypot(y - row, x - column)) <= reach
    return result


def segments(mask):
    """Yield the connected components of a mask, each as a mask."""
    numbers, count = ndimage.label(mask, SQUARE)
    for number in range(1, count + 1):
        yield numbers == number


def error_types(truth, prediction, train_id, reach):
    """Sort the wrong pixels of a class as section 3 of the paper does."""
    is_truth, is_predicted = truth == train_id, prediction == train_id
    right, rightly_other = is_truth & is_predicted, ~is_truth & ~is_predicted
    rows = []
    for own, wrong in (
        (is_predicted, is_predicted & ~is_truth),
        (is_truth, is_truth & ~is_predicted),
    ):
        seed = wrong & grown(right, reach) & grown(rightly_other, reach)
        boundary = np.zeros_like(wrong)
        for segment in segments(grown(seed, reach) & wrong):
            around = ndimage.binary_dilation(segment, SQUARE)
            if (around & right).any() and (around & rightly_other).any():
                boundary |= segment
        extent = np.zeros_like(wrong)
        for segment in segments(own):
            if (segment & right).any():
                extent |= segment & wrong & ~boundary
        kinds = boundary, extent, wrong & ~boundary & ~extent
        rows.append([int((kind & (truth != IGNORE)).sum()) for kind in kinds])
    return rows


# Beyond the blocks of rows that are taken at a time, and beyond what fits 8 bits.
@pytest.mark.parametrize("width", [0.04, 0.4, 10])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_types_are_those_of_the_paper(seed, ignored, width):
    truth, prediction, n = maps(seed, ignored=ignored)
    reach = round(width * np.hypot(*truth.shape))
    expected = [error_types(truth, prediction, train_id, reach) for train_id in range(n)]
    found = count_error_types(truth, prediction, n, IGNORE, width)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("seed", range(6))
def test_types_are_all_that_lacks_in_the_intersection(seed):
    truth, prediction, n = maps(seed, ignored=True)
    intersection, union = class_counts(confusion_matrix(truth, prediction, n))
    types = count_error_types(truth, prediction, n, IGNORE)
    assert types.shape == (n, 2, len(TYPES))
    np.testing.assert_array_equal(intersection + types.sum(axis=(1, 2)), union)


def test_kinds_by_hand():
    truth = np.zeros((40, 60), np.uint8)
    truth[10:30, 10:30] = 1
    prediction = np.zeros_like(truth)
    prediction[10:30, 11:30] = 1  # a seam of 20 pixels is missed
    prediction[2:6, 50:56] = 1  # 24 pixels of something that is not there
    assert count_error_types(truth, prediction, 2, IGNORE, 0.03).tolist() == [
        [[20, 0, 0], [0, 24, 0]],  # what is missed of the square is taken for background
        [[0, 0, 24], [20, 0, 0]],
    ]


def inner_seam(mask, reach):
    """Return the pixels of a mask that `reach` erosions take away."""
    return mask & ~ndimage.binary_erosion(mask, SQUARE, iterations=reach, border_value=0)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_boundaries_are_those_of_the_authors_code(seed, ignored):
    truth, prediction, n = maps(seed, ignored=ignored)
    labelled = truth != IGNORE
    reach = max(round(0.02 * np.hypot(*truth.shape)), 1)
    for train_id, (intersection, union) in enumerate(
        count_boundaries(truth, prediction, n, IGNORE)
    ):
        masks = ((ids == train_id) & labelled for ids in (truth, prediction))
        a, b = (inner_seam(mask, reach) for mask in masks)
        assert (intersection, union) == ((a & b).sum(), (a | b).sum())


def test_what_is_predicted_on_ignored_pixels_moves_no_boundary():
    truth, _, n = maps(3, ignored=True)
    rng = np.random.default_rng(0)
    anything = rng.integers(0, n, truth.shape, np.uint8)
    perfect = np.where(truth == IGNORE, anything, truth)
    intersection, union = count_boundaries(truth, perfect, n, IGNORE).T
    np.testing.assert_array_equal(intersection, union)
    assert union.sum() > 0


@pytest.mark.parametrize("kind", ["noise", "every pixel another class", "checkerboard"])
def test_hostile_maps_take_a_second(kind):
    """Processor time for 640 x 480 pixels, some ten times what it takes."""
    y, x = np.mgrid[0:480, 0:640]
    random = np.random.default_rng(0)
    truth, prediction = {
        "noise": random.integers(0, 19, (2, 480, 640)),
        "every pixel another class": np.stack((x * 31 + y * 17, x * 13 + y * 7)) % 254,
        "checkerboard": np.stack(((x + y) % 2, (x + y + x // 5) % 2)),
    }[kind].astype(np.uint8)
    count_error_types(truth[:9], prediction[:9], 254, IGNORE)
    started_s = time.process_time()
    types = count_error_types(truth, prediction, 254, IGNORE)
    assert time.process_time() - started_s < 5
    assert types.sum() == 2 * (truth != prediction).sum()
