"""Property tests look at the same examples every time, and other projects' networks are found.

To look for new examples:
`make test ARGS="test/evaluation/test_pairing.py --hypothesis-profile=default"`.
"""

from __future__ import annotations

import importlib
import signal
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Where requirements-parity.txt says to install other projects' networks.
PARITY = Path(sys.prefix) / "parity"

# A shell that starts the tests in the background has them ignore interrupts, and so would all that
# they start: those that interrupt a program would wait for its end in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def parity():
    """Yield what imports another project's package, or skips where it is not installed.

    PyPI's torchvision is built for CUDA: on PyTorch for CPUs its library does not load, and its
    import fails for want of two operators that no segmentation network calls.
    """
    torch = importlib.import_module("torch")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.path.append(str(PARITY))

    def load(name):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"no {name} in {PARITY} ({error})")

    yield load
    sys.path.remove(str(PARITY))


@pytest.fixture
def smp(parity):
    """Import segmentation_models_pytorch."""
    return parity("segmentation_models_pytorch")
