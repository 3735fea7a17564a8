from __future__ import annotations

import dataclasses
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.inference import backends
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build
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


def test_an_image_is_copied_only_where_torch_cannot_read_it():
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    image = make_image(48, 64, 0)
    assert segmenter.as_input(image) is image
    read_only = image.copy()
    read_only.flags.writeable = False
    for each in (image[..., ::-1], np.broadcast_to(image[..., :1], image.shape), read_only):
        copied = segmenter.as_input(each)
        assert np.array_equal(copied, each)
        assert segmenter.as_input(copied) is copied


class FakeBackend:
    """Logits of a constant class."""

    name = "fake"
    dtype = torch.float32

    def __init__(self):
        self.seen = []

    def coarse_logits(self, images):
        self.seen.append(tuple(images.shape))
        logits = torch.zeros(len(images), 5, images.shape[2] // 4, images.shape[3] // 4)
        logits[:, 3] = 1
        return logits


def test_input_size_of_the_network_is_honoured():
    segmenter = Segmenter(make_checkpoint(size=(32, 48)), device="cpu")
    segmenter._scorer.backend = backend = FakeBackend()
    (labels,) = segmenter.predict([make_image(64, 96)], [(64, 96)])
    assert backend.seen == [(1, 3, 32, 48)]
    assert labels.shape == (64, 96)
    assert (labels == 3).all()


def test_image_too_small_for_the_network_is_failed():
    architecture = dataclasses.replace(SMALL, stem_padding=0)
    segmenter = Segmenter(make_checkpoint(architecture), device="cpu")
    with pytest.raises(FrameError, match="fails on an image of 1x1 pixels") as caught:
        segmenter.predict([make_image(1, 1)], [(1, 1)])
    assert caught.value.reason is Reason.INFERENCE_FAILED
    assert "\n" not in str(caught.value)


def on_accelerator(segmenter, accelerator):
    """Have a segmenter take the way of a GPU."""
    segmenter._accelerator = accelerator
    segmenter._scorer = segmenter._make_scorer(segmenter._scorer.backend)
    return segmenter


@pytest.mark.parametrize("resize", ["fit", "crop"])
def test_a_device_gives_the_same_labels_and_counts(late, caplog, resize):
    checkpoint = make_checkpoint(dataclasses.replace(SMALL, resize=resize))
    host = Segmenter(checkpoint, device="cpu")
    device = on_accelerator(Segmenter(checkpoint, device="cpu"), late)
    with caplog.at_level("INFO"):
        device.warm_up((48, 64))
    name = "PyTorch fp32, rewritten decoder, recorded as a repeated call"
    assert caplog.messages[-1].startswith(f"network on cpu by {name}, which labels")
    images = [make_image(48, 64, 1), make_image(48, 64, 2), make_image(33, 40, 3)]
    sizes = [(48, 64), (24, 30), (33, 40)]
    truths = [np.random.default_rng(0).integers(0, 5, size, np.uint8) for size in sizes]
    labels = device.predict(images, sizes)
    for one, other in zip(labels, host.predict(images, sizes), strict=True):
        assert one.dtype == np.uint8
        assert one.shape == other.shape
        assert (one != other).mean() < 1e-3
    counted = device.score(images, truths).result()
    for scored, truth, predicted in zip(counted, truths, labels, strict=True):
        np.testing.assert_array_equal(scored.matrix, confusion_matrix(truth, predicted, 5))
    scoring = device.score(images, truths)
    device.close()
    assert scoring.done(), "what is under way is waited for"
    assert len(scoring.result()) == 3


class Resident(torch.nn.Module):
    """A program, which is run as it was loaded."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 5, 1)

    def forward(self, images):
        return self.mix(images)


@pytest.mark.parametrize("program", [True, False])
def test_network_leaves_the_device_where_a_copy_runs(late, program):
    network = Resident() if program else build(SMALL)
    network.cpu = moves = Mock(return_value=network)
    checkpoint = dataclasses.replace(make_checkpoint(), network=network)
    segmenter = on_accelerator(Segmenter(checkpoint, device="cpu"), late)
    segmenter.warm_up((32, 48))
    assert moves.called is not program
    (labels,) = segmenter.predict([make_image(32, 48)], [(32, 48)])
    assert len(np.unique(labels)) > 1


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


def test_deeplabv3_classifies_at_the_output_stride(caplog):
    checkpoint = make_checkpoint(dataclasses.replace(SMALL, low_width=0, output_stride=8))
    _, logits = expected_labels(checkpoint, make_image(64, 96), (64, 96))
    with torch.no_grad():
        checkpoint.network.decoder.classify.bias -= torch.from_numpy(logits.mean((1, 2)))
    segmenter = Segmenter(checkpoint, device="cpu")
    with caplog.at_level("INFO"):
        segmenter.warm_up((64, 96))
    assert "by PyTorch fp32, which labels" in caplog.messages[-1]
    image = make_image(64, 96)
    (labels,) = segmenter.predict([image], [(64, 96)])
    expected, _ = expected_labels(checkpoint, image, (64, 96))
    assert (labels == expected).mean() > 0.999
    assert len(np.unique(expected)) > 1


def test_warm_up_refuses_a_computation_that_disagrees(caplog, monkeypatch):
    honest = backends.accelerate

    def broken(network, *, rewrite=True, fuse=True):
        fast = honest(network, rewrite=rewrite, fuse=fuse)
        if rewrite:
            fast.decoder.classify.bias += torch.arange(5.0)
        return fast

    monkeypatch.setattr(backends, "accelerate", broken)
    segmenter = Segmenter(make_checkpoint(), device="cpu")
    with caplog.at_level("INFO"):
        segmenter.warm_up((64, 96))
    assert "rewritten decoder is not used: it disagrees with the plain" in caplog.messages[0]
    assert caplog.messages[-1].startswith("network on cpu by PyTorch fp32, which labels")


def test_auto_resorts_to_ordinary_calls_where_a_device_cannot_do_more(late, caplog, monkeypatch):
    checkpoint = make_checkpoint()
    expected = Segmenter(checkpoint, device="cpu").predict([make_image(48, 64)], [(48, 64)])

    def fail(*_):
        raise RuntimeError("CUDA driver error: operation not supported\nmore")

    for backend in ("torch", "auto"):
        segmenter = on_accelerator(Segmenter(checkpoint, device="cpu", backend=backend), late)
        monkeypatch.setattr(type(segmenter._scorer), "check_counting", fail)
        if backend == "torch":
            with pytest.raises(RuntimeError, match="operation not supported"):
                segmenter.warm_up((48, 64))
    with caplog.at_level("INFO"):
        segmenter.warm_up((48, 64))
    assert segmenter.backend == "eager"
    assert "operation not supported): using backend eager" in caplog.messages[-2]
    assert caplog.messages[-1] == "network on cpu by plain PyTorch, as it was loaded"
    (labels,) = segmenter.predict([make_image(48, 64)], [(48, 64)])
    assert (labels == expected[0]).mean() > 0.999


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
        ({"device": "cpu", "backend": "tensorrt"}, "backend is 'tensorrt', expected auto, torch, "),
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
