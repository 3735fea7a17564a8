from __future__ import annotations

import pytest
import torch

from deeplab_miou.model import recorded
from deeplab_miou.model.accelerator import CpuAccelerator
from deeplab_miou.model.recorded import RecordedEngine


class Engine:
    name = "plain"
    dtype = torch.float32

    def __init__(self):
        self.runs = 0

    def coarse_logits(self, images):
        self.runs += 1
        return torch.cat([images, 2 - images], dim=1)


class Accelerator(CpuAccelerator):
    """Counts recordings, or refuses them."""

    def __init__(self, error=None):
        self.error = error
        self.shapes = []
        self.beside = []

    def record(self, run, beside):
        if self.error is not None:
            raise self.error
        self.beside.append(beside)
        recording = super().record(run, beside)
        self.shapes.append(tuple(recording.output.shape[2:]))
        return recording


def images(height, seed=0, width=2):
    return torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(seed))


def test_every_run_gives_what_the_engine_gives():
    accelerator = Accelerator()
    engine = RecordedEngine(Engine(), accelerator)
    for seed in range(4):
        for height in (2, 3):
            batch = images(height, seed)
            assert torch.equal(engine.coarse_logits(batch), Engine().coarse_logits(batch))
    assert accelerator.shapes == [(2, 2), (3, 2)]
    assert accelerator.beside[0] is None
    assert accelerator.beside[1] is not None
    assert engine.name == "plain, recorded as a repeated call"


def test_recordings_are_bounded_and_only_unused_ones_give_way(monkeypatch):
    monkeypatch.setattr(recorded, "_STALE", 10)
    accelerator = Accelerator()
    engine = RecordedEngine(Engine(), accelerator)
    for _ in range(3):
        for height in range(1, 6):
            engine.coarse_logits(images(height))
    # The fifth finds no room while the others are in use.
    assert [height for height, _ in accelerator.shapes] == [1, 2, 3, 4]
    for _ in range(10):
        engine.coarse_logits(images(5))
    assert [height for height, _ in accelerator.shapes] == [1, 2, 3, 4, 5]
    assert sorted(shape[2] for shape in engine._entries) == [2, 3, 4, 5]


@pytest.mark.parametrize("error", [RuntimeError("capture failed\nmore"), KeyError()])
def test_what_cannot_be_recorded_runs_all_the_same(error, caplog):
    inner = Engine()
    engine = RecordedEngine(inner, Accelerator(error))
    for seed in range(3):
        batch = images(2, seed)
        assert torch.equal(engine.coarse_logits(batch), Engine().coarse_logits(batch))
    assert inner.runs == 3
    assert not engine.recorded
    assert engine.name == "plain"
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]


def test_a_replay_that_gives_other_labels_is_not_used(caplog):
    class Unsteady(Engine):
        def coarse_logits(self, images):
            logits = super().coarse_logits(images)
            return logits if self.runs == 1 else logits.flip(1)

    engine = RecordedEngine(Unsteady(), Accelerator())
    engine.coarse_logits(images(8))
    assert not engine.recorded
    assert "a replay labels 0.000 % of an image as the first run did" in caplog.text
