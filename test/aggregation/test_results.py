"""Parts of a result are computed when they are called for, and once."""

import pickle
from functools import partial
from operator import methodcaller

import numpy as np

from deeplab_miou.aggregation.results import Deferred
from deeplab_miou.metric.blocks import TimeBlocks
from deeplab_miou.metric.region_scores import contrasts


def test_what_is_deferred_is_computed_once():
    calls = [1, 2]
    deferred = Deferred(calls.pop)
    assert (deferred(), deferred(), calls) == (2, 2, [1])


def test_what_is_deferred_goes_to_another_process_before_and_after():
    random = np.random.default_rng(3)
    counts = random.integers(1, 50, (20, 2, 2, 3))
    counts[:, 0] += counts[:, 1]
    blocks = TimeBlocks(10**9, np.arange(20), counts)
    deferred = Deferred(partial(contrasts, blocks, {"near": np.array([True, False, True])}))
    before = pickle.loads(pickle.dumps(deferred))  # noqa: S301  (our own)
    here = deferred()
    after = pickle.loads(pickle.dumps(deferred))  # noqa: S301
    for there in map(methodcaller("__call__"), (before, after)):
        np.testing.assert_array_equal(there["near"].bounds, here["near"].bounds)
        np.testing.assert_array_equal(there["near"].inside, here["near"].inside)
