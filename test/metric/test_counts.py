"""Counts add up and subtract exactly, with regions and without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deeplab_miou.metric.counts import Counts

ONE = np.array([[2, 0, 1], [0, 3, 0]], np.int64)


@pytest.mark.parametrize("regions", [0, 4])
def test_sum_and_difference_are_exact_and_leave_their_parts_alone(regions):
    stack = ONE * np.arange(5, 5 - 1 - regions, -1).reshape(1 + regions, 1, 1)
    first = Counts.of_stack(stack + 2**53, frames=3, ignored=5, unmapped=2)
    second = Counts.of_stack(stack, frames=1, ignored=4, unmapped=1)
    both = first + second
    assert both.stack.tolist() == (2 * stack + 2**53).tolist()
    assert (both.frames, both.ignored, both.unmapped) == (4, 9, 3)
    back = both - second
    assert back.stack.tolist() == first.stack.tolist() == (stack + 2**53).tolist()
    assert (back.frames, back.ignored, back.unmapped) == (3, 5, 2)
    zero = Counts.zero(2, regions)
    assert (zero + second).stack.tolist() == stack.tolist()
    assert not zero.stack.any()
    assert second.matrix.tolist() == (5 * ONE).tolist()
    assert second.pixels == 5 * ONE.sum()
    assert len(both.regions) == regions


def test_pixels_outside_a_region_are_ignored_in_it():
    counts = Counts(5 * ONE, 7, ignored=10, unmapped=3, regions=np.stack((ONE, 2 * ONE)))
    region = counts.region(1)
    assert region.matrix.tolist() == (2 * ONE).tolist()
    assert (region.frames, region.unmapped, len(region.regions)) == (7, 3, 0)
    assert region.pixels + region.ignored == counts.pixels + counts.ignored


@pytest.mark.parametrize("other", [Counts.zero(3), Counts.zero(2, 4)])
def test_counts_of_other_classes_or_regions_do_not_mix(other):
    for combine in (Counts.__add__, Counts.__sub__, Counts.shrank_since):
        with pytest.raises(ValueError, match=r"counts of shapes .* and .* cannot be combined"):
            combine(Counts(ONE), other)


@pytest.mark.parametrize("field", ["matrix", "frames", "ignored", "unmapped", "regions"])
def test_any_smaller_count_has_shrunk(field):
    older = Counts(ONE, frames=2, ignored=2, unmapped=2, regions=ONE[np.newaxis])
    of_arrays = field in {"matrix", "regions"}
    smaller = dataclasses.replace(
        older, **{field: getattr(older, field) - (ONE > 2) if of_arrays else 1}
    )
    assert smaller.shrank_since(older)
    assert not older.shrank_since(smaller)
    assert not older.shrank_since(older)
