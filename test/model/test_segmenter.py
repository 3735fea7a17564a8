from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.architecture import Architecture
from deeplab_miou.model.checkpoints import Checkpoint, Preprocessing
from deeplab_miou.model.network import build
from deeplab_miou.model.segmenter import Segmenter

SMALL = Architecture(
    num_classes=5, width=0.25, aspp_width=16, low_width=8, decoder_width=16, atrous_rates=(2, 4, 6)
)


def make_checkpoint(architecture=SMALL, size=None):
    torch.manual_seed(0)
    return Checkpoint(
        network=build(architecture),
        family="test",
        num_classes=architecture.num_classes,
        output_stride=architecture.output_stride,
        preprocessing=Preprocessing(size=size),
        label_map=None,
    )


def make_image(height, width, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def expected_labels(checkpoint, image, size):
    mean, std = (np.array(v) for v in (checkpoint.preprocessing.mean, checkpoint.preprocessing.std))
    pixels = torch.from_numpy(((image / 255 - mean) / std).transpose(2, 0, 1)[None]).float()
    with torch.inference_mode():
        logits = torch.nn.functional.interpolate(
            checkpoint.network.coarse_logits(pixels), size=size, mode="bilinear"
        )
    return logits.argmax(1)[0].numpy(), logits[0].numpy()


@pytest.mark.parametrize(("shape", "size"), [((64, 96), (64, 96)), ((61, 83), (122, 99))])
def test_labels_are_those_of_the_plain_network(shape, size):
    checkpoint = make_checkpoint()
    image = make_image(*shape)
    (labels,) = Segmenter(checkpoint, device="cpu").predict([image], [size])
    assert labels.dtype == np.uint8
    assert labels.shape == size
    expected, logits = expected_labels(checkpoint, image, size)
    assert len(np.unique(expected)) > 1
    rows, columns = np.nonzero(labels != expected)
    top = np.sort(logits, axis=0)[-2:, rows, columns]
    assert np.all(top[1] - top[0] < 1e-5), "labels differ beyond rounding"


def test_labels_do_not_depend_on_the_batch_or_on_strides():
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    images = [make_image(48, 64, seed) for seed in range(3)]
    together = segmenter.predict(images, [(48, 64)] * 3)
    for image, labels in zip(images, together, strict=True):
        reversed_channels = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
        (alone,) = segmenter.predict([reversed_channels], [(48, 64)])
        assert np.array_equal(alone, labels)


def test_input_size_of_the_network_is_honoured():
    checkpoint = make_checkpoint(size=(32, 48))
    seen = []
    original = checkpoint.network.coarse_logits
    checkpoint.network.coarse_logits = lambda batch: seen.append(batch.shape) or original(batch)
    segmenter = Segmenter(checkpoint, device="cpu")
    (labels,) = segmenter.predict([make_image(64, 96)], [(64, 96)])
    assert seen == [(1, 3, 32, 48)]
    assert labels.shape == (64, 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device is 'tpu', expected"),
        ({"device": "cpu", "precision": "fp8"}, "precision is 'fp8', expected"),
        ({"device": "cpu", "precision": "fp16"}, "needs a GPU"),
        ({"device": "cpu", "threads": 0}, "threads is 0"),
    ],
)
def test_what_cannot_be_had_is_one_line(options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        Segmenter(make_checkpoint(), **options)
    assert "\n" not in str(caught.value)


def test_absent_gpus_are_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="use device cpu or auto"):
        Segmenter(make_checkpoint(), device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigurationError, match=r"cuda:7.*has 2"):
        Segmenter(make_checkpoint(), device="cuda:7")


def test_one_size_per_image_is_demanded():
    with pytest.raises(ValueError, match="1 images but 0 sizes"):
        Segmenter(make_checkpoint(), device="cpu").predict([make_image(32, 32)], [])
