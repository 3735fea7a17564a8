from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.pictures.segmentation import comparison

LABELS = load_label_map("demo")


def test_four_panels_show_image_truth_prediction_and_mistakes():
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30:] = 5
    truth[:10] = LABELS.ignore_index
    prediction = truth.copy()
    prediction[20:30, :30] = 7
    prediction[:10] = 3
    image = np.full((80, 120, 3), 200, np.uint8)
    picture = comparison(image, truth, prediction, LABELS)
    assert picture.shape == (80, 120, 3)
    assert picture[5, 5].tolist() == [200, 200, 200]
    assert picture[35, 60 + 5].tolist() == LABELS.palette[0].tolist()
    assert picture[5, 60 + 5].tolist() == [0, 0, 0]
    assert picture[40 + 25, 5].tolist() == LABELS.palette[7].tolist()
    mistakes = picture[40:, 60:].astype(int)
    red = mistakes[..., 0] - mistakes[..., 1] > 50
    assert red[20:30, :30].all()
    assert red.sum() == 300
    assert (mistakes[:10] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 1000), (700, 2)])
def test_any_size_is_drawn_and_thin_mistakes_stay_visible(size):
    truth = np.zeros(size, np.uint8)
    prediction = truth.copy()
    prediction[0, 0] = 3
    picture = comparison(None, truth, prediction, LABELS, width=100)
    assert picture.shape[1] <= 200
    half = (picture.shape[0] // 2, picture.shape[1] // 2)
    corner = picture[half[0], half[1]].astype(int)
    assert corner[0] > corner[1]
