from __future__ import annotations

import weakref

import pytest
import torch

from deeplab_miou.model.gpu import captured
from deeplab_miou.model.gpu.accelerator import CpuAccelerator
from deeplab_miou.model.gpu.captured import CapturedBackend


class Convolution:
    """A network of one layer."""

    name = "convolution"
    dtype = torch.float32

    def __init__(self, device="cpu"):
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(5, 3, 3, 3, generator=generator).to(device)

    def coarse_logits(self, images):
        return torch.nn.functional.conv2d(images, self.weight, stride=4)


def make_images(*shape, seed=0, device="cpu"):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def test_replays_give_what_the_backend_gives(accelerator):
    backend = Convolution(accelerator.device)
    replayed = CapturedBackend(backend, accelerator)
    assert replayed.name == f"convolution, recorded as {accelerator.capture_name}"
    given = []
    for seed in range(6):
        for shape in ((1, 3, 16, 20), (2, 3, 16, 20), (1, 3, 9, 33)):
            images = make_images(*shape, seed=seed, device=accelerator.device)
            if seed % 2:
                images = images.contiguous(memory_format=torch.channels_last)
            given.append((images, images.clone()))
            found = replayed.coarse_logits(images)
            torch.testing.assert_close(found, backend.coarse_logits(images))
    assert replayed.has_captures
    assert len(replayed._entries) == 3
    assert all(torch.equal(images, before) for images, before in given), "the caller's are his own"


def test_first_run_on_a_shape_is_the_backends(accelerator):
    replayed = CapturedBackend(Convolution(accelerator.device), accelerator)
    first = replayed.coarse_logits(make_images(1, 3, 16, 20, device=accelerator.device))
    kept = first.clone()
    replayed.coarse_logits(make_images(1, 3, 16, 20, seed=1, device=accelerator.device))
    assert torch.equal(first, kept)


def test_four_shapes_at_most_and_the_stale_one_gives_way(accelerator, monkeypatch):
    monkeypatch.setattr(captured, "_STALE", 6)
    backend = Convolution(accelerator.device)
    replayed = CapturedBackend(backend, accelerator)

    def step(width):
        images = make_images(1, 3, 16, width, seed=width, device=accelerator.device)
        torch.testing.assert_close(replayed.coarse_logits(images), backend.coarse_logits(images))
        return {shape[3] for shape in replayed._entries}

    for width in (20, 24, 28, 32):
        step(width)
    assert step(36) == {20, 24, 28, 32}, "no room, and none of them is stale yet"
    for width in (20, 28, 32):
        assert step(width) == {20, 24, 28, 32}
    assert step(36) == {20, 28, 32, 36}, "24 was not replayed for 7 runs"
    for width in (20, 28, 32, 36):
        assert step(width) == {20, 28, 32, 36}


class Asked(CpuAccelerator):
    """Keeps what captures are to be made to share memory with, or refuses to make them."""

    def __init__(self, error=None):
        self.error = error
        self.shared_with = []

    def capture(self, run, sharing):
        self.shared_with.append(sharing)
        if self.error is not None:
            raise self.error
        return super().capture(run, sharing)


def test_captures_share_their_memory():
    accelerator = Asked()
    replayed = CapturedBackend(Convolution(), accelerator)
    for width in (20, 24, 28):
        replayed.coarse_logits(make_images(1, 3, 16, width))
    first = next(iter(replayed._entries.values())).capture
    assert accelerator.shared_with == [None, first, first]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("operation not permitted\nwhile capturing"), "operation not permitted"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
        (NotImplementedError(), "NotImplementedError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_captured_runs_without(caplog, error, reason):
    backend, accelerator = Convolution(), Asked(error)
    replayed = CapturedBackend(backend, accelerator)
    for seed in range(3):
        for width in (20, 24):
            images = make_images(1, 3, 16, width, seed=seed)
            assert torch.equal(replayed.coarse_logits(images), backend.coarse_logits(images))
    assert len(accelerator.shared_with) == 1
    assert caplog.messages == [f"a repeated call is not used: {reason}"]
    assert replayed.name == "convolution"
    assert not replayed.has_captures


class Unsteady(Convolution):
    """Answers otherwise every time, as what reads memory that is no longer its own would."""

    runs = 0

    def coarse_logits(self, images):
        self.runs += 1
        return super().coarse_logits(images).roll(self.runs, dims=1)


def test_replay_that_labels_otherwise_is_not_used(accelerator, caplog):
    replayed = CapturedBackend(Unsteady(accelerator.device), accelerator)
    for _ in range(3):
        replayed.coarse_logits(make_images(1, 3, 64, 64, device=accelerator.device))
    (message,) = caplog.messages
    assert message.startswith(f"{accelerator.capture_name} is not used: a replay labels ")
    assert not replayed.has_captures


def test_stopping_frees_the_captures(accelerator, caplog):
    backend = Convolution(accelerator.device)
    replayed = CapturedBackend(backend, accelerator)
    images = make_images(1, 3, 16, 20, device=accelerator.device)
    replayed.coarse_logits(images)
    (entry,) = replayed._entries.values()
    memory = [weakref.ref(tensor) for tensor in (entry.images, entry.capture.output)]
    del entry
    replayed.stop("of the test")
    replayed.stop("of nothing new")
    assert [reference() for reference in memory] == [None, None]
    assert caplog.messages == [f"{accelerator.capture_name} is not used: of the test"]
    assert torch.equal(replayed.coarse_logits(images), backend.coarse_logits(images))
    assert not replayed.has_captures
