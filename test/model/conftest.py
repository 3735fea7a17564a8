from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.model.gpu.accelerator import CpuAccelerator, CudaAccelerator


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # The networks here are tiny: handing work between threads would cost more than doing it.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class LateMark:
    def __init__(self, owner, place):
        self.owner = owner
        self.place = place

    def query(self):
        return self.owner.reached >= self.place

    def synchronize(self):
        self.owner.go_on(self.place)


class LateAccelerator(CpuAccelerator):
    """Copies as late as a device may: results arrive when waited for, and are rubbish before.

    Attributes:
        reached: steps done so far.
        waited_for: the mark that each upload waited for.
    """

    def __init__(self):
        self.reached = 0
        self.waited_for = []
        self._steps = []

    def upload(self, target, source, after):
        self.waited_for.append(after)
        target.copy_(source)  # what computes here does it at once
        promised = source.clone()

        def check():
            assert torch.equal(source, promised), "memory changed while it was copied"

        return self._queue(check)

    def download(self, target, source):
        result = source.numpy().copy()
        target.numpy()[:] = 0xAA
        self._queue(lambda: np.copyto(target.numpy(), result))

    def mark(self):
        return self._queue(lambda: None)

    def go_on(self, place):
        while self.reached < place:
            self._steps[self.reached]()
            self.reached += 1

    def _queue(self, step):
        self._steps.append(step)
        return LateMark(self, len(self._steps))


@pytest.fixture
def late():
    """A device on the CPU whose copies take their time."""
    return LateAccelerator()


@pytest.fixture(
    params=[
        "cpu",
        "late",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ]
)
def accelerator(request):
    """Each kind of device that is here."""
    if request.param == "cuda":
        return CudaAccelerator(torch.device("cuda:0"))
    return CpuAccelerator() if request.param == "cpu" else LateAccelerator()
