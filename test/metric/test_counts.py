"""Counts add up and subtract exactly, with regions and without."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deeplab_miou.metric.counts import Counts

ONE = np.array([[2, 0, 1], [0, 3, 0]], np.int64)


@pytest.mark.parametrize("leading", [(), (4,)])
def test_sum_and_difference_are_exact_and_leave_their_parts_alone(leading):
    matrix = ONE * np.arange(1, 5).reshape(4, 1, 1) if leading else ONE
    first = Counts(matrix + 2**53, frames=3, ignored=5, unmapped=2)
    second = Counts(matrix, frames=1, ignored=4, unmapped=1)
    both = first + second
    assert both.matrix.tolist() == (2 * matrix + 2**53).tolist()
    assert (both.frames, both.ignored, both.unmapped) == (4, 9, 3)
    back = both - second
    assert back.matrix.tolist() == first.matrix.tolist() == (matrix + 2**53).tolist()
    assert (back.frames, back.ignored, back.unmapped) == (3, 5, 2)
    zero = Counts.zero(2, *leading)
    assert (zero + second).matrix.tolist() == matrix.tolist()
    assert not zero.matrix.any()
    assert second.pixels == matrix.sum()


@pytest.mark.parametrize("other", [Counts.zero(3), Counts.zero(2, 4)])
def test_counts_of_other_classes_or_regions_do_not_mix(other):
    for combine in (Counts.__add__, Counts.__sub__, Counts.shrank_since):
        with pytest.raises(ValueError, match=r"counts of shape \(2, 3\) and .* cannot be combined"):
            combine(Counts(ONE), other)


@pytest.mark.parametrize("field", ["matrix", "frames", "ignored", "unmapped"])
def test_any_smaller_count_has_shrunk(field):
    older = Counts(ONE, frames=2, ignored=2, unmapped=2)
    smaller = dataclasses.replace(
        older, **{field: getattr(older, field) - (ONE > 2)} if field == "matrix" else {field: 1}
    )
    assert smaller.shrank_since(older)
    assert not older.shrank_since(smaller)
    assert not older.shrank_since(older)
