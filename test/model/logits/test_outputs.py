from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.logits.counting import count_in_bands, to_matrix
from deeplab_miou.model.logits.outputs import to_labels, to_tables
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.model.segmenter import Segmenter

OPTIONS = {
    "num_classes": 5,
    "width": 0.25,
    "aspp_width": 16,
    "low_width": 8,
    "decoder_width": 16,
    "atrous_rates": (2, 4, 6),
}
CONVENTIONS = [
    None,
    Architecture(**OPTIONS),
    Architecture(**OPTIONS, align_corners=True),
    Architecture(**OPTIONS, resize="crop"),
    Architecture(**OPTIONS, resize="crop", align_corners=True),
]


@pytest.mark.parametrize("options", CONVENTIONS, ids=str)
@pytest.mark.parametrize("size", [(21, 26), (21, 40)], ids=["image", "other"])
def test_counts_are_those_of_the_labels(options, size):
    generator = np.random.default_rng(0)
    logits = torch.from_numpy(generator.standard_normal((2, 5, 6, 7)).astype(np.float32))
    truths = generator.integers(0, 5, (2, *size), np.uint8)
    truths[:, 0] = 255
    image_size = (21, 26)
    labels = torch.full(truths.shape, 99, dtype=torch.uint8)
    for wanted in (labels, None):
        tables = to_tables(
            logits,
            image_size,
            torch.from_numpy(truths),
            options,
            num_classes=5,
            ignore_index=255,
            method=count_in_bands,
            labels=wanted,
        )
        for i, table in enumerate(tables.numpy()):
            expected = to_labels(logits[i], image_size, size, options)
            np.testing.assert_array_equal(labels[i], expected)
            matrix = to_matrix(table, 5)
            np.testing.assert_array_equal(matrix, confusion_matrix(truths[i], expected, 5))
            assert len(np.unique(expected)) == 5


def make_segmenter():
    torch.manual_seed(0)
    network = build(Architecture(**OPTIONS))
    return Segmenter(Checkpoint(network, "test", 5, 16, Preprocessing(), None), device="cpu")


def test_segmenter_counts_its_own_labels():
    segmenter = make_segmenter()
    generator = np.random.default_rng(1)
    images = [generator.integers(0, 256, (h, 64, 3), np.uint8) for h in (48, 48, 33)]
    truths = [generator.integers(0, 5, (h, 64), np.uint8) for h in (48, 24, 33)]
    truths[0][:5] = 255
    found = segmenter.score(images, truths).result()
    labels = segmenter.predict(images, [truth.shape for truth in truths])
    for scored, truth, prediction in zip(found, truths, labels, strict=True):
        np.testing.assert_array_equal(scored.matrix, confusion_matrix(truth, prediction, 5))
    with pytest.raises(ValueError, match="ids below 5 or the ignore index 254, but got 255"):
        segmenter.score(images[:1], truths[:1], ignore_index=254).result()
