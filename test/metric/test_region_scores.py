"""Regions of a simulated stream: contrasts find what is there, and seldom what is not."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.region_scores import contrast, frames_contrast, labelled_in_both

SECOND = 1_000_000_000


def stream(seed, *, seconds=120, loss=0.0):
    """Return (k, 2, 2, 3) counts: the whole frame, and its half that is worse in class 1."""
    rng = np.random.default_rng(seed)
    matrices = np.zeros((seconds, 2, 2, 3), np.int64)
    for frame in matrices:
        halves = []
        for quality in (0.8, 0.8 - loss):
            half = np.zeros((2, 3), np.int64)
            for c, right in ((0, 0.9), (1, np.clip(quality + 0.1 * rng.normal(), 0, 1))):
                half[c, c] = round(1000 * right)
                half[c, 1 - c] = 1000 - half[c, c]
            halves.append(half)
        frame[:] = halves[0] + halves[1], halves[1]
    return matrices


def read(matrices):
    """Add up a stream."""
    bootstrap = BlockBootstrap(2, regions=1)
    bootstrap.update(matrices, [k * SECOND for k in range(len(matrices))])
    return bootstrap.read()


def compare(matrices):
    """Compare the region of a stream with the rest."""
    whole, inside = matrices.sum(axis=0)
    return contrast(read(matrices), 0, labelled_in_both(whole, inside))


def iou(matrix, c):
    """Count the IoU of a class."""
    return matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c])


def test_contrast_is_the_region_less_the_rest():
    matrices = stream(0, loss=0.2)
    found = compare(matrices)
    inside = matrices[:, 1].sum(axis=0)
    outside = matrices[:, 0].sum(axis=0) - inside
    assert found.inside[1:] == pytest.approx([iou(inside, 0), iou(inside, 1)])
    assert found.outside[1:] == pytest.approx([iou(outside, 0), iou(outside, 1)])
    assert found.inside[0] == pytest.approx(np.mean(found.inside[1:]))
    assert found.bounds[2, 1] < 0
    assert found.differs[2]


def test_what_is_alike_is_seldom_found_to_differ():
    wrong = sum(compare(stream(seed)).differs[2] for seed in range(100))
    assert wrong <= 11  # 5 % of 100, and three standard deviations


def test_mean_is_over_classes_on_both_sides():
    matrices = stream(2, loss=0.2)
    matrices[:, 1, 0] = 0  # nothing of class 0 in the region
    matrices[:, 1, 1, 0] = 0
    found = compare(matrices)
    assert found.inside[0] == pytest.approx(found.inside[2])
    assert found.outside[0] == pytest.approx(found.outside[2])
    assert np.isnan(found.inside[1])


def test_classes_without_labels_on_one_side_are_not_compared():
    matrices = stream(2)
    matrices[:, 0, 0] -= matrices[:, 1, 0]
    matrices[:, 1, 0] = 0  # class 0 is only predicted in the region
    found = compare(matrices)
    assert found.inside[1] == 0
    assert found.outside[1] > 0.7
    assert np.isnan(found.bounds[1]).all()
    assert found.inside[0] == pytest.approx(found.inside[2])
    assert found.outside[0] == pytest.approx(found.outside[2])
    assert not found.differs[1]


def test_classes_without_labels_in_the_frames_of_a_slice_are_not_compared():
    matrices = stream(4)[:, 0]
    in_slice = np.arange(len(matrices)) % 20 < 10
    matrices[in_slice, 0] = 0
    whole, part = BlockBootstrap(2), BlockBootstrap(2)
    for each, chosen in ((whole, slice(None)), (part, in_slice)):
        stamps = (np.arange(len(matrices)) * SECOND)[chosen]
        each.update(matrices[chosen], stamps.tolist())
    classes = labelled_in_both(matrices.sum(axis=0), matrices[in_slice].sum(axis=0))
    found = frames_contrast(*(_first_of(each.read()) for each in (whole, part)), classes)
    assert found.inside[1] == 0
    assert found.outside[1] > 0.7
    assert np.isnan(found.bounds[1]).all()
    assert found.inside[0] == pytest.approx(found.inside[2])
    assert found.bounds[0] == pytest.approx(found.bounds[2])


def _first_of(blocks):
    """Return blocks with the counts of the whole frames only."""
    return replace(blocks, counts=blocks.counts[:, 0])


def test_few_blocks_are_no_evidence():
    matrices = stream(3, seconds=5, loss=0.5)
    found = compare(matrices)
    assert np.isnan(found.bounds).all()
    assert not found.differs.any()
