"""Regions, depth bands and types of mistakes of a network on each kind of device, by NumPy."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from image_files import raw_image

from deeplab_miou.accounting import Stream
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.predictors import Predictor, network_predictor
from deeplab_miou.evaluation.queueing import WorkQueue
from deeplab_miou.evaluation.run_state import RunState
from deeplab_miou.images.decoding import decode_color
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.gpu.device_scorer import DeviceScorer
from deeplab_miou.model.inference.backends import TorchBackend
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.model.segmenter import Segmenter
from deeplab_miou.regions.file_format import read_regions

CLASSES, IGNORE, SIZE, FRAMES = 5, 255, (48, 64), 5
NAMES = LabelMap.from_dict(
    {"name": "five", "classes": [{"name": each} for each in "abcde"]}, "test"
)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]
REGIONS = """
regions:
  - {name: last rows, rows: [44, 48], ignore: true}
  - {name: upper, rows: [0.0, 0.5]}
  - {name: corner, polygon: [[0, 0], [32, 0], [0, 24]]}
  - {name: border, border: 1}
  - {name: interior, interior: 1}
"""


def make_checkpoint():
    torch.manual_seed(0)
    network = build(
        Architecture(
            num_classes=CLASSES,
            width=0.25,
            aspp_width=16,
            low_width=8,
            decoder_width=16,
            atrous_rates=(2, 4, 6),
        )
    )
    with torch.no_grad():
        # Each class is the best of some pixels.
        logits = network.coarse_logits(torch.randn(1, 3, *SIZE))
        network.decoder.classify.bias -= logits.mean((0, 2, 3))
    return Checkpoint(network, "test", CLASSES, 16, Preprocessing(), None)


def make_truth(seed):
    truth = np.random.default_rng(seed).integers(0, CLASSES, (6, 8))
    truth = np.repeat(np.repeat(truth, 8, 0), 8, 1).astype(np.uint8)
    truth[:5, :5] = IGNORE
    return truth


def count(truth, prediction):
    matrix = np.zeros((CLASSES, CLASSES + 1), np.int64)
    np.add.at(matrix, (truth[truth != IGNORE], prediction[truth != IGNORE]), 1)
    return matrix


def inside(truth):
    y, x = np.indices(SIZE)
    labelled = truth != IGNORE
    around = np.pad(truth, 1, constant_values=IGNORE)
    near = np.zeros(SIZE, bool)
    for other in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
        near |= labelled & (other != truth) & (other != IGNORE)
    return [y < 24, (x + 0.5) / 32 + (y + 0.5) / 24 < 1, near, labelled & ~near]


def check(predictor, tmp_path):
    """Score some frames, and count their predictions with NumPy."""
    (tmp_path / "regions.yaml").write_text(REGIONS)
    outcomes = []
    pipeline = Pipeline(
        predictor,
        NAMES,
        run=RunState(CLASSES, regions=4),
        queue=WorkQueue(100),
        batch_size=3,
        regions=read_regions(str(tmp_path / "regions.yaml")),
        error_types=True,
        wants_predictions=lambda: False,
        on_outcome=outcomes.append,
    )
    for seed in range(FRAMES):
        picture = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)
        pipeline.add(Stream.IMAGE, seed, "camera", raw_image(picture, "rgb8"))
        pipeline.add(Stream.LABEL, seed, "camera", raw_image(make_truth(seed), "mono8"))
    while pipeline.work(0):
        pass
    assert [outcome.image.stamp_ns for outcome in outcomes] == list(range(FRAMES))
    for seed, outcome in enumerate(outcomes):
        truth, prediction = make_truth(seed), outcome.prediction
        truth[44:] = IGNORE
        assert len(np.unique(prediction)) > 1
        whole = count(truth, prediction)
        np.testing.assert_array_equal(outcome.counts.matrix, whole)
        expected = [count(np.where(each, truth, IGNORE), prediction) for each in inside(truth)]
        np.testing.assert_array_equal(outcome.counts.regions, expected)
        types = outcome.counts.mistakes[:, :6].sum(axis=1)
        right = whole.diagonal()
        union = whole.sum(axis=1) + whole[:, :-1].sum(axis=0) - right
        np.testing.assert_array_equal(right + types, union)


@pytest.mark.parametrize("device", DEVICES)
def test_regions_of_a_network_are_those_of_its_labels(device, tmp_path):
    segmenter = Segmenter(make_checkpoint(), device=device)
    segmenter.warm_up(SIZE)
    check(network_predictor(segmenter, NAMES), tmp_path)
    segmenter.close()


def test_regions_are_those_of_the_labels_that_a_device_sends_back(accelerator, tmp_path):
    checkpoint = make_checkpoint()
    backend = TorchBackend(checkpoint.network, torch.device(accelerator.device), "fp32")
    scorer = DeviceScorer(backend, checkpoint, accelerator)
    score = functools.partial(scorer.score, ignore_index=IGNORE)
    check(Predictor(decode_color, score, any_size=True, needs_worker=True), tmp_path)
