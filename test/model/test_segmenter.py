from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.model import engines, outputs
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


class FakeEngine:
    """Logits of a constant class; fails where the batch is larger than memory allows."""

    name = "fake"

    def __init__(self, fits=1):
        self.fits = fits
        self.seen = []

    def coarse_logits(self, images):
        self.seen.append(tuple(images.shape))
        if len(images) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits = torch.zeros(len(images), 5, images.shape[2] // 4, images.shape[3] // 4)
        logits[:, 3] = 1
        return logits


def test_input_size_of_the_network_is_honoured():
    segmenter = Segmenter(make_checkpoint(size=(32, 48)), device="cpu")
    segmenter._engine = FakeEngine()
    (labels,) = segmenter.predict([make_image(64, 96)], [(64, 96)])
    assert segmenter._engine.seen == [(1, 3, 32, 48)]
    assert labels.shape == (64, 96)


def test_batch_is_halved_until_it_fits():
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    segmenter._engine = FakeEngine(fits=2)
    finish = lambda logits, seen, size: outputs.to_labels(logits, seen, size, None)  # noqa: E731
    labels = segmenter._run_batch([make_image(32, 32)] * 7, [(16, 16)] * 7, finish)
    assert [shape[0] for shape in segmenter._engine.seen] == [7, 3, 1, 2, 4, 2, 2]
    assert len(labels) == 7
    assert all((label == 3).all() for label in labels)


def test_frame_that_never_fits_is_failed_with_the_size_that_did():
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    segmenter._engine = FakeEngine()
    segmenter.predict([make_image(32, 48)], [(32, 48)])
    segmenter._engine = FakeEngine(fits=0)
    with pytest.raises(FrameError, match=r"64x32 pixels does not fit .* fitted is 48x32") as caught:
        segmenter._run_batch([make_image(32, 64)] * 2, [(32, 64)] * 2, None)
    assert caught.value.reason is Reason.INFERENCE_FAILED


def test_image_too_small_for_the_network_is_failed():
    architecture = dataclasses.replace(SMALL, stem_padding=0)
    segmenter = Segmenter(make_checkpoint(architecture), device="cpu")
    with pytest.raises(FrameError, match="fails on an image of 1x1 pixels") as caught:
        segmenter.predict([make_image(1, 1)], [(1, 1)])
    assert caught.value.reason is Reason.INFERENCE_FAILED
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resize", ["fit", "crop"])
def test_batches_of_a_gpu_give_the_same_labels(resize):
    # The way of a GPU, batches and the full tensor of logits, taken on the CPU.
    segmenter = Segmenter(make_checkpoint(dataclasses.replace(SMALL, resize=resize)), device="cpu")
    images = [make_image(48, 64, 1), make_image(48, 64, 2), make_image(33, 40, 3)]
    sizes = [(48, 64), (24, 30), (33, 40)]
    expected = segmenter.predict(images, sizes)
    batches = []
    original = segmenter._engine.coarse_logits
    segmenter._engine.coarse_logits = lambda batch: batches.append(len(batch)) or original(batch)
    segmenter._device = SimpleNamespace(type="cuda")
    labels = segmenter.predict(images, sizes)
    assert batches == [2, 1]
    for one, other in zip(labels, expected, strict=True):
        assert one.dtype == np.uint8
        assert one.shape == other.shape
        assert (one != other).mean() < 1e-3


def test_warm_up_keeps_the_fast_network_and_says_so(caplog):
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    with caplog.at_level("INFO"):
        segmenter.warm_up((64, 96), (32, 48))
    assert "PyTorch fp32, rewritten decoder, which labels" in caplog.messages[-1]
    assert "100.000 % equal" in caplog.messages[-1]
    without = Segmenter(make_checkpoint(), device="cpu", rewrite=False)
    image = make_image(64, 96)
    (labels,), (expected,) = (s.predict([image], [(64, 96)]) for s in (segmenter, without))
    assert np.array_equal(labels, expected)


def test_separable_decoders_are_not_called_rewritten(caplog):
    architecture = dataclasses.replace(SMALL, decoder_convolution="separable")
    with caplog.at_level("INFO"):
        Segmenter(make_checkpoint(architecture), device="cpu").warm_up((32, 48))
    assert "by PyTorch fp32, which labels" in caplog.messages[-1]


def test_warm_up_refuses_a_computation_that_disagrees(caplog, monkeypatch):
    honest = engines.accelerate

    def broken(network, *, rewrite=True, fuse=True):
        fast = honest(network, rewrite=rewrite, fuse=fuse)
        if rewrite:
            fast.decoder.classify.bias += torch.arange(5.0)
        return fast

    monkeypatch.setattr(engines, "accelerate", broken)
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    with caplog.at_level("INFO"):
        segmenter.warm_up((64, 96))
    assert "rewritten decoder is not used: it disagrees with the plain" in caplog.messages[0]
    assert caplog.messages[-1].startswith("network on cpu by PyTorch fp32, which labels")


@pytest.mark.parametrize("size", [(61, 83), (122, 166)])
def test_cropped_logits_are_those_of_the_network(size):
    architecture = dataclasses.replace(SMALL, resize="crop")
    checkpoint = make_checkpoint(architecture)
    image = make_image(61, 83)
    (labels,) = Segmenter(checkpoint, device="cpu").predict([image], [size])
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1)
        for v in (checkpoint.preprocessing.mean, checkpoint.preprocessing.std)
    )
    with torch.inference_mode():
        logits = checkpoint.network((pixels - mean) / std)
        logits = torch.nn.functional.interpolate(logits, size=size, mode="bilinear")
    assert (labels != logits.argmax(1)[0].numpy()).mean() < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device is 'tpu', expected"),
        ({"device": "cpu", "precision": "fp8"}, "precision is 'fp8', expected"),
        ({"device": "cpu", "precision": "fp16"}, "needs a GPU"),
        ({"device": "cpu", "threads": 0}, "threads is 0"),
        ({"device": "cpu", "backend": "tensorrt"}, "backend is 'tensorrt', expected torch, "),
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
