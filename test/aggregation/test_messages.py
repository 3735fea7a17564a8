from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.aggregation.messages import RefusedError, matrix_from_counts


@pytest.mark.parametrize(
    ("counts", "classes", "text"),
    [
        ([1] * 5, 2, "5 counts, expected 6"),
        ([], 0, "0 class names"),
        ([2**64 - 1, 1], 1, "more than"),
    ],
)
def test_malformed_matrices_are_refused(counts, classes, text):
    with pytest.raises(RefusedError, match=text):
        matrix_from_counts(np.array(counts, np.uint64), classes)
