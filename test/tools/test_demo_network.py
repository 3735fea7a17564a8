import dataclasses

import numpy as np
import pytest
import torch

from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.metric.scores import compute_scores
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.model.segmenter import Segmenter
from demo_network import training
from demo_network.drives import (
    HELD_OUT_DRIVES,
    HELD_OUT_SEED,
    TRAINING_SEED,
    VALIDATION_SEED,
    render_drive,
)
from demo_network.picture import CHECKPOINT, draw


@pytest.fixture(scope="module")
def shipped():
    return checkpoints.load(CHECKPOINT)


def test_the_shipped_checkpoint_segments_drives_it_never_saw(shipped):
    segmenter = Segmenter(shipped, device="cpu", threads=1)
    total = np.zeros((8, 9), np.int64)
    for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + 4):
        for image, label in render_drive(seed, 2, shipped.label_map):
            total += confusion_matrix(label, segmenter.predict([image], [(480, 640)])[0], 8)
    scores = compute_scores(total)
    assert scores.miou >= 0.75
    assert scores.iou.min() >= 0.4


def test_the_shipped_checkpoint_says_what_it_is(shipped):
    assert CHECKPOINT.stat().st_size <= 3_000_000
    assert shipped.label_map == load_label_map("demo")
    assert shipped.preprocessing.size is not None
    facts = shipped.provenance
    assert facts["held_out"]["miou"] >= 0.80
    assert facts["held_out"]["frames"] >= 200
    assert set(facts["held_out"]["iou"]) == set(shipped.label_map.class_names)
    assert facts["wall_minutes"] > 0
    assert facts["versions"]["torch"]


def test_the_shipped_checkpoint_was_not_trained_on_what_it_is_scored_on(shipped):
    low, high = shipped.provenance["training_seeds"]
    assert TRAINING_SEED <= low <= high < VALIDATION_SEED
    first, last = shipped.provenance["held_out"]["seeds"]
    assert HELD_OUT_SEED <= first <= last < HELD_OUT_SEED + HELD_OUT_DRIVES


def test_the_shipped_network_is_the_recipes(shipped):
    assert shipped.network.architecture == training.architecture(8)


def test_pictures_show_image_truth_and_prediction():
    picture = draw(CHECKPOINT, HELD_OUT_SEED, 4.0)
    assert picture.shape == (480, 3 * 640 + 16, 3)
    truth, prediction = picture[:, 648:1288], picture[:, 1296:]
    black = (truth == 0).all(axis=2)
    assert 0.005 < black.mean() < 0.1
    assert ((truth == prediction).all(axis=2) | black).mean() > 0.9


def test_the_loss_is_small_for_the_truth_and_blind_to_ignored_pixels():
    target = torch.randint(0, 8, (2, 12, 12), generator=torch.Generator().manual_seed(1))
    weights = torch.ones(8)
    right = torch.nn.functional.one_hot(target, 8).permute(0, 3, 1, 2).float() * 30
    assert float(training._loss(right, target, weights)) < 1e-3
    assert float(training._loss(-right, target, weights)) > 1.5
    masked = target.clone()
    masked[:, :6] = 255
    spoilt = right.clone()
    spoilt[:, :, :6] = spoilt[:, :, :6].flip(1)
    assert torch.equal(
        training._loss(right, masked, weights), training._loss(spoilt, masked, weights)
    )


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [training._rate(done / 1000) for done in range(1001)]
    peak = int(np.argmax(rates))
    assert 20 <= peak <= 80
    assert rates[0] < 0.1 * rates[peak]
    assert np.all(np.diff(rates[peak:]) <= 0)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_the_average_moves_weights_and_batch_statistics():
    options = dataclasses.replace(training.architecture(3), width=0.1, aspp_width=8)
    torch.manual_seed(0)
    network, average = build(options), build(options)
    before = {key: value.clone() for key, value in average.state_dict().items()}
    training._average(average, network, 0.75)
    new = network.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * before[key] + 0.25 * new[key])
