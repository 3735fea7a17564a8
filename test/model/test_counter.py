from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model import counter as counter_module
from deeplab_miou.model.counter import DeviceCounter


def frames(count, seed=0):
    generator = np.random.default_rng(seed)
    logits = torch.from_numpy(generator.standard_normal((count, 5, 4, 6)).astype(np.float32))
    return logits, torch.from_numpy(generator.integers(0, 5, (count, 16, 24), np.uint8))


def expected(logits, truth):
    full = torch.nn.functional.interpolate(logits, size=truth.shape[1:], mode="bilinear")
    return confusion_matrix(truth.numpy(), full.argmax(1).to(torch.uint8).numpy(), 5)


def test_matrix_is_the_sum_of_all_frames():
    counter = DeviceCounter(5)
    parts = [frames(2, seed=1), frames(1, seed=2)]
    for part in parts:
        counter.add(*part)
    assert counter.frames == 3
    found = counter.read()
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, sum(expected(*part) for part in parts))
    found[:] = 0
    assert counter.read().any(), "what was read is the reader's own"


def test_copies_are_made_every_few_frames():
    counter = DeviceCounter(5, every=3)
    assert counter.peek()[1] == 0
    parts = [frames(2, seed) for seed in range(3)]
    seen = []
    for part in parts:
        counter.add(*part)
        seen.append(counter.peek()[1])
    assert seen == [0, 4, 6]
    np.testing.assert_array_equal(counter.peek()[0], sum(expected(*part) for part in parts))


def test_reset_starts_from_zero():
    counter = DeviceCounter(5, every=1)
    counter.add(*frames(1))
    counter.reset()
    assert counter.frames == 0
    assert counter.peek()[1] == 0
    assert not counter.peek()[0].any()
    assert not counter.read().any()


def test_foreign_ground_truth_is_reported_until_reset():
    counter = DeviceCounter(5, every=1)
    logits, truth = frames(1)
    truth[0, 0, 0] = 200
    counter.add(logits, truth)
    for read in (counter.read, counter.peek, counter.read):
        with pytest.raises(ValueError, match="1 pixels have others"):
            read()
    counter.reset()
    counter.add(*frames(1))
    np.testing.assert_array_equal(counter.read(), expected(*frames(1)))


def test_refused_frames_are_not_counted():
    counter = DeviceCounter(5)
    logits, truth = frames(2)
    with pytest.raises(ValueError, match="ground truth must be uint8"):
        counter.add(logits, truth.int())
    assert counter.frames == 0
    assert not counter.read().any()


def test_inference_mode_is_of_no_consequence():
    logits, truth = frames(1)
    with torch.inference_mode():
        counter = DeviceCounter(5)
        counter.add(logits, truth)
    counter.add(logits.requires_grad_(), truth)
    np.testing.assert_array_equal(counter.read(), 2 * expected(*frames(1)))
    counter.reset()
    assert not counter.read().any()


@pytest.mark.parametrize(
    ("n", "every", "name"), [(0, 1, "num_classes"), (256, 1, "num_classes"), (5, 0, "every")]
)
def test_wrong_options_are_named(n, every, name):
    with pytest.raises(ValueError, match=name):
        DeviceCounter(n, every=every)


class FakeEvent:
    def __init__(self, **_):
        self.arrived = False

    def record(self, _):
        self.arrived = False

    def query(self):
        return self.arrived

    def synchronize(self):
        self.arrived = True


class FakeStream:
    waited = ()

    def __init__(self, *_):
        pass

    def wait_event(self, event):
        self.waited = (*self.waited, event)

    def wait_stream(self, stream):
        self.waited = (*self.waited, stream)


@pytest.fixture
def on_fake_gpu(monkeypatch):
    """A counter on the CPU whose copies arrive when they are told to."""
    own = FakeStream()
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: torch.no_grad())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: own)
    counter = DeviceCounter(5, every=1)
    snapshot = counter._snapshot
    snapshot._cuda, snapshot._stream, snapshot._copied = True, FakeStream(), FakeEvent()
    return counter, snapshot, own


def test_copy_is_seen_when_it_has_arrived(on_fake_gpu):
    counter, snapshot, own = on_fake_gpu
    counter.add(*frames(1))
    assert counter.peek()[1] == 0
    assert own.waited == (snapshot._copied,), "the last copy is let finish first"
    assert snapshot._stream.waited == (own,)
    snapshot._copied.arrived = True
    matrix, count = counter.peek()
    assert count == 1
    np.testing.assert_array_equal(matrix, expected(*frames(1)))
    counter.add(*frames(1))
    assert counter.peek()[1] == 1, "the one before, while the next is under way"
    np.testing.assert_array_equal(counter.read(), 2 * expected(*frames(1)))


def test_reset_forgets_a_copy_under_way(on_fake_gpu):
    counter, snapshot, _ = on_fake_gpu
    counter.add(*frames(1))
    counter.reset()
    snapshot._copied.arrived = True
    assert counter.peek()[1] == 0
    assert counter_module.cells(5) == len(snapshot._host)
