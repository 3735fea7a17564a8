"""What differs in a region is said with the bounds that were found, be they symmetric or not."""

from types import SimpleNamespace

import numpy as np

from deeplab_miou.metric.region_scores import Contrast
from deeplab_miou.report.region_table import region_sentences


def sentences(inside, outside, bounds):
    found = Contrast(np.array(inside), np.array(outside), np.array(bounds))
    report = SimpleNamespace(class_names=("road", "car", "pole"), contrasts={"far": found})
    return region_sentences(report)


def test_bounds_are_those_that_were_found():
    assert sentences(
        [0.70, 0.9, 0.87, 0.50],
        [0.80, 0.9, 0.95, 0.30],
        [[-0.15, -0.05], [-0.1, 0.1], [-0.37, -0.01], [0.12, 0.30]],
    ) == [
        "mIoU is 0.10 worse in far than elsewhere (0.70 against 0.80; 95 % 0.05 to 0.15)",
        "pole is 0.20 better in far than elsewhere (0.50 against 0.30; 95 % 0.12 to 0.30)",
        "car is 0.08 worse in far than elsewhere (0.87 against 0.95; 95 % 0.01 to 0.37)",
    ]


def test_what_may_be_chance_is_not_said():
    assert sentences([0.5] * 4, [0.6] * 4, [[-0.3, 0.1]] * 3 + [[np.nan, np.nan]]) == []
