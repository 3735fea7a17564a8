from __future__ import annotations

import numpy as np
from image_files import raw_image

from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.labels.label_map import LabelMap

CLASSES = [
    {"name": "road", "color": [128, 64, 128], "ids": [7]},
    {"name": "car", "color": [0, 0, 142], "ids": [26]},
]
TWO = LabelMap.from_dict({"name": "two", "classes": CLASSES}, "test")


def test_ids_of_eight_bits_are_taken_as_they_are():
    ids = np.array([[0, 5, 255]], np.uint8)
    assert topic_predictor(TWO).prepare(raw_image(ids, "mono8")).tolist() == [[0, 5, 255]]


def test_ids_beyond_eight_bits_become_invalid_and_alias_nothing():
    wide = np.array([[1, 256, 257, 65535]], np.uint16)
    assert topic_predictor(TWO).prepare(raw_image(wide, "16UC1")).tolist() == [[1, 255, 255, 255]]
    signed = np.array([[-1, 2, 1 << 20]], np.int32)
    assert topic_predictor(TWO).prepare(raw_image(signed, "32SC1")).tolist() == [[255, 2, 255]]


def test_raw_ids_and_colors_go_through_a_label_map():
    predictor = topic_predictor(TWO, TWO)
    ids = np.array([[7, 26, 99]], np.uint8)
    assert predictor.prepare(raw_image(ids, "mono8")).tolist() == [[0, 1, 255]]
    colors = np.array([[[128, 64, 128], [0, 0, 142], [1, 2, 3]]], np.uint8)
    assert predictor.prepare(raw_image(colors, "rgb8")).tolist() == [[0, 1, 255]]


def test_another_ignore_index_is_an_invalid_prediction_too():
    mapping = {"name": "one", "ignore_index": 200, "classes": [{"name": "a", "ids": [1]}]}
    predictor = topic_predictor(TWO, LabelMap.from_dict(mapping, "test"))
    assert predictor.prepare(raw_image(np.array([[1, 9]], np.uint8), "mono8")).tolist() == [
        [0, 255]
    ]
