from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.checkpoints.load import Checkpoint, Preprocessing
from deeplab_miou.model.gpu import jobs
from deeplab_miou.model.gpu.accelerator import CpuAccelerator
from deeplab_miou.model.gpu.captured import CapturedBackend
from deeplab_miou.model.gpu.device_scorer import DeviceScorer
from deeplab_miou.model.inference.backends import TorchBackend
from deeplab_miou.model.inference.host_scorer import HostScorer
from deeplab_miou.model.logits.counting import count_in_bands
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build

SMALL = Architecture(
    num_classes=5, width=0.25, aspp_width=16, low_width=8, decoder_width=16, atrous_rates=(2, 4, 6)
)

OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


def make_checkpoint(architecture=SMALL, size=None):
    torch.manual_seed(0)
    network = build(architecture)
    with torch.no_grad():
        # Each class is the best of some pixels.
        logits = network.coarse_logits(torch.randn(1, 3, 48, 64))
        network.decoder.classify.bias -= logits.mean((0, 2, 3))
    return Checkpoint(network, "test", 5, 16, Preprocessing(size=size), None)


def make_backend(checkpoint, device="cpu"):
    return TorchBackend(checkpoint.network, torch.device(device), "fp32")


def make_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def make_truth(*size, seed=0):
    truth = np.random.default_rng(seed).integers(0, 5, size, np.uint8)
    truth.flags.writeable = False  # as the bytes of a message are
    return truth


def make_batch():
    """Images as they come out of messages, of several sizes, and their ground truth."""
    images = [
        make_pixels(48, 64, 3, seed=1),
        make_pixels(48, 64, 3, seed=2)[..., ::-1],
        make_pixels(48, 64, 3, seed=3),
        make_pixels(48, 64, 4, seed=4)[..., 2::-1],
        make_pixels(33, 40, 4, seed=5)[..., :3],
        np.broadcast_to(make_pixels(48, 64, 1, seed=6), (48, 64, 3)),
        make_pixels(48, 64, 3, seed=7),
    ]
    sizes = [(48, 64), (48, 64), (48, 64), (48, 64), (33, 40), (48, 64), (24, 30)]
    return images, [make_truth(*size, seed=i) for i, size in enumerate(sizes)]


class Watching:
    """A backend that keeps what it ran on, and may be short of memory."""

    name = "watching"
    dtype = torch.float32

    def __init__(self, backend, frames=99, pixels=1 << 40, error=OUT_OF_MEMORY):
        self.backend = backend
        self.frames = frames
        self.pixels = pixels
        self.error = error
        self.seen = []

    def coarse_logits(self, images):
        self.seen.append(len(images))
        if len(images) > self.frames or images[0, 0].numel() > self.pixels:
            raise self.error
        return self.backend.coarse_logits(images)


CHECKPOINT = make_checkpoint()


def make_scorer(accelerator, **limits):
    backend = Watching(make_backend(CHECKPOINT, accelerator.device), **limits)
    return DeviceScorer(backend, CHECKPOINT, accelerator), backend


@pytest.mark.parametrize("captured", [False, True], ids=["plain", "captured"])
@pytest.mark.parametrize("size", [None, (32, 48)], ids=["as it is", "resized"])
@pytest.mark.parametrize(
    "options",
    [{}, {"resize": "crop"}, {"align_corners": True}, {"resize": "crop", "align_corners": True}],
    ids=str,
)
def test_labels_and_counts_are_those_of_the_host(accelerator, options, size, captured):
    checkpoint = make_checkpoint(dataclasses.replace(SMALL, **options), size)
    images, truths = make_batch()
    sizes = [truth.shape for truth in truths]
    with torch.inference_mode():
        host = HostScorer(make_backend(checkpoint), checkpoint, torch.device("cpu"))
        expected = host.predict(images, sizes)
    backend = make_backend(checkpoint, accelerator.device)
    if captured:
        backend = CapturedBackend(backend, accelerator)
    scorer = DeviceScorer(backend, checkpoint, accelerator)
    for _ in range(2):  # the second time, what was captured is replayed
        kept = scorer.score(images, truths, 255, keep_predictions=True).result()
        counted = scorer.score(images, truths, 255, keep_predictions=False).result()
        predicted = scorer.predict(images, sizes)
        for i, truth in enumerate(truths):
            labels = kept[i].prediction
            assert labels.dtype == np.uint8
            # A batch may round in another way than its images one by one.
            assert (labels != expected[i]).mean() < 1e-3
            assert len(np.unique(labels)) > 1
            np.testing.assert_array_equal(predicted[i], labels)
            matrix = confusion_matrix(truth, labels, 5)
            np.testing.assert_array_equal(kept[i].matrix, matrix)
            np.testing.assert_array_equal(counted[i].matrix, matrix)
            assert counted[i].prediction is None
    if captured:
        assert backend.has_captures


def test_confidences_are_those_of_the_host(accelerator):
    images, truths = make_batch()
    wanted = {"keep_predictions": True, "keep_confidences": True}
    with torch.inference_mode():
        host = HostScorer(make_backend(CHECKPOINT), CHECKPOINT, torch.device("cpu"))
        expected = host.score(images, truths, 255, **wanted).result()
    scorer, _ = make_scorer(accelerator)
    found = scorer.score(images, truths, 255, **wanted).result()
    for one, other, truth in zip(found, expected, truths, strict=True):
        assert one.confidence.shape == truth.shape
        assert np.abs(one.confidence.astype(int) - other.confidence).max() <= 1
        assert len(np.unique(one.confidence)) > 1
    for each in scorer.score(images, truths, 255, keep_predictions=True).result():
        assert each.confidence is None


@pytest.mark.parametrize("ignore_index", [255, 3, 0])
def test_ignored_pixels_count_nowhere(accelerator, ignore_index):
    scorer, _ = make_scorer(accelerator)
    image, truth = make_pixels(48, 64, 3), make_truth(48, 64).copy()
    truth[:7] = ignore_index
    (scored,) = scorer.score([image], [truth], ignore_index, keep_predictions=True).result()
    expected = confusion_matrix(truth, scored.prediction, 5, ignore_index)
    np.testing.assert_array_equal(scored.matrix, expected)
    assert scored.matrix.sum() == (truth != ignore_index).sum()


def test_several_batches_are_under_way(late):
    scorer, _ = make_scorer(late)
    batches = [
        ([make_pixels(h, 64, 3, seed=i)] * k, [make_truth(h, 64, seed=i)] * k)
        for i, (h, k) in enumerate([(48, 2), (48, 2), (64, 3), (32, 1), (48, 2), (80, 2)])
    ]
    started = [scorer.score(*batch, 255, keep_predictions=True) for batch in batches]
    assert [each.done() for each in started][-2:] == [False, False]
    assert started[0].done(), "its memory was needed again"
    for (images, truths), under_way in reversed(list(zip(batches, started, strict=True))):
        alone = scorer.score(images, truths, 255, keep_predictions=True).result()
        for one, other, truth in zip(under_way.result(), alone, truths, strict=True):
            np.testing.assert_array_equal(one.prediction, other.prediction)
            np.testing.assert_array_equal(one.matrix, other.matrix)
            np.testing.assert_array_equal(one.matrix, confusion_matrix(truth, one.prediction, 5))
        assert under_way.done()
    assert len({score.matrix.tobytes() for each in started for score in each.result()}) == 6


def test_neighbours_of_one_kind_run_together(monkeypatch):
    scorer, backend = make_scorer(CpuAccelerator())
    images, truths = make_batch()
    scorer.score(images, truths, 255, keep_predictions=False).result()
    assert backend.seen == [1] * 7, "each differs from the one before it"
    backend.seen.clear()
    scorer.predict([images[0]] * 7, [(48, 64)] * 7)
    assert backend.seen == [4, 2, 1], "few different shapes, each of which takes a capture"
    backend.seen.clear()
    monkeypatch.setattr(jobs, "_PLENTY", 3 * 48 * 64)
    scorer.predict([images[0]] * 5, [(48, 64)] * 5)
    assert backend.seen == [2, 2, 1], "no more at a time than keep a GPU busy"
    assert scorer.predict([], []) == []


@pytest.mark.parametrize(
    "error",
    [
        OUT_OF_MEMORY,
        RuntimeError("CUDA error: out of memory"),  # pinned memory
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=str,
)
def test_batch_is_halved_until_it_fits(accelerator, error):
    images = [make_pixels(48, 64, 3, seed=i) for i in range(7)]
    truths = [make_truth(48, 64, seed=i) for i in range(7)]
    scorer, backend = make_scorer(accelerator, frames=1, error=error)
    found = scorer.score(images, truths, 255, keep_predictions=True).result()
    # Once something is under way, it is waited for and the same tried again.
    assert backend.seen == [4, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 1]
    expected = (
        make_scorer(accelerator)[0].score(images, truths, 255, keep_predictions=True).result()
    )
    for one, other, truth in zip(found, expected, truths, strict=True):
        assert (one.prediction != other.prediction).mean() < 1e-3
        np.testing.assert_array_equal(one.matrix, confusion_matrix(truth, one.prediction, 5))


def test_captures_give_way_to_work(late, caplog):
    backend = Watching(make_backend(CHECKPOINT), frames=1)
    captured = CapturedBackend(backend, late)
    scorer = DeviceScorer(captured, CHECKPOINT, late)
    image = make_pixels(48, 64, 3)
    (before,) = scorer.predict([image], [(48, 64)])
    assert captured.has_captures
    assert (scorer.predict([image, image], [(48, 64)] * 2)[1] != before).mean() < 1e-3
    assert not captured.has_captures
    assert caplog.messages == ["a repeated call is not used: the device is out of memory"]


def test_frame_that_never_fits_is_failed_with_the_size_that_did(accelerator):
    scorer, backend = make_scorer(accelerator, pixels=48 * 64)
    large, small = make_pixels(64, 80, 3), make_pixels(48, 64, 3)
    with pytest.raises(FrameError, match=r"80x64 pixels does not fit .* none has fit so far"):
        scorer.score([large], [make_truth(64, 80)], 255, keep_predictions=False)
    scorer.predict([small[:32], small], [(32, 64), (48, 64)])
    with pytest.raises(FrameError, match="the largest that did fit is 64x48: set a") as caught:
        scorer.score([large] * 2, [make_truth(64, 80)] * 2, 255, keep_predictions=False)
    assert caught.value.reason is Reason.INFERENCE_FAILED
    assert "\n" not in str(caught.value)
    backend.seen.clear()
    truth = make_truth(48, 64)
    (scored,) = scorer.score([small], [truth], 255, keep_predictions=True).result()
    np.testing.assert_array_equal(scored.matrix, confusion_matrix(truth, scored.prediction, 5))
    assert backend.seen == [1], "a failure leaves nothing behind"


def test_image_too_small_for_the_network_is_failed(accelerator):
    checkpoint = make_checkpoint(dataclasses.replace(SMALL, stem_padding=0))
    backend = make_backend(checkpoint, accelerator.device)
    scorer = DeviceScorer(backend, checkpoint, accelerator)
    with pytest.raises(FrameError, match="fails on an image of 1x1 pixels"):
        scorer.predict([make_pixels(1, 1, 3)], [(1, 1)])


class Dead:
    name = "dead"
    dtype = torch.float32

    def coarse_logits(self, images):
        raise RuntimeError(f"CUDA error: unspecified launch failure at {tuple(images.shape)}")


def test_dead_device_is_no_matter_of_the_frame():
    scorer = DeviceScorer(Dead(), CHECKPOINT, CpuAccelerator())
    with pytest.raises(RuntimeError, match="unspecified launch failure at"):
        scorer.predict([make_pixels(48, 64, 3)], [(48, 64)])


def test_ground_truth_that_is_no_class_is_refused(accelerator):
    scorer, _ = make_scorer(accelerator)
    truths = [make_truth(48, 64).copy(), make_truth(48, 64).copy()]
    truths[1][0] = 77
    scoring = scorer.score([make_pixels(48, 64, 3)] * 2, truths, 255, keep_predictions=False)
    with pytest.raises(ValueError, match="ids below 5 or the ignore index 255, but 64 pixels have"):
        scoring.result()


def test_counting_falls_back_where_the_kernel_fails(accelerator, caplog):
    scorer, _ = make_scorer(accelerator)
    image, truth = make_pixels(48, 64, 3), make_truth(48, 64)
    fast = scorer._method
    scorer.check_counting(image, (48, 64))
    assert scorer._method is fast
    assert not caplog.messages

    def broken(*_, **__):
        raise RuntimeError("no kernel image for this device\nand much more")

    scorer._method = broken
    scorer.check_counting(image, (48, 64))
    assert scorer._method is count_in_bands
    reason = "no kernel image for this device"
    assert caplog.messages == [f"counting without Triton's kernel: {reason}"]
    (scored,) = scorer.score([image], [truth], 255, keep_predictions=True).result()
    np.testing.assert_array_equal(scored.matrix, confusion_matrix(truth, scored.prediction, 5))


def test_what_fails_without_the_kernel_too_is_told():
    scorer = DeviceScorer(Dead(), CHECKPOINT, CpuAccelerator())
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        scorer.check_counting(make_pixels(48, 64, 3), (48, 64))


def test_a_frame_whose_logits_are_nan_is_failed(accelerator):
    """Half precision overflows on some images only; argmax would take NaN for the best class."""
    scorer, backend = make_scorer(accelerator)
    honest = backend.coarse_logits

    def spoil(images):
        logits = honest(images).clone()
        logits[-1, 2, 1, 1] = torch.nan
        return logits

    images, truths = [make_pixels(48, 64, 3)], [make_truth(48, 64)]
    (expected,) = scorer.score(images, truths, 255, keep_predictions=False).result()
    backend.coarse_logits = spoil
    for keep in (False, True):
        with pytest.raises(FrameError, match="is not finite"):
            scorer.score(images * 2, truths * 2, 255, keep_predictions=keep).result()
    backend.coarse_logits = honest
    (again,) = scorer.score(images, truths, 255, keep_predictions=False).result()
    np.testing.assert_array_equal(again.matrix, expected.matrix)
