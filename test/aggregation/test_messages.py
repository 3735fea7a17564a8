from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.aggregation.messages import RefusedError, StreamTotals, matrix_from_counts


def test_stream_totals_after_a_reset_keep_their_identity():
    base = StreamTotals(10, 6, 2, {"queue_full": 2})
    now = StreamTotals(15, 9, 3, {"queue_full": 2, "bad_size": 1})
    since = now.since(base)
    assert since == StreamTotals(7, 3, 3, {"bad_size": 1})
    assert since.received == since.evaluated + since.waiting + sum(since.dropped.values())


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
