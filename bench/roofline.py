"""The least time that a device needs for a computation, from what it can do at best.

For every convolution and matrix product: its arithmetic at the peak rate, or its inputs and
outputs moved once at the peak bandwidth, whichever takes longer. All other operations are taken to
cost nothing, as if they were part of their neighbours. Both peaks are measured in the same run.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable

# In inference mode PyTorch shows the names that code calls, otherwise those they consist of.
_CONVOLUTIONS = {"conv2d", "convolution", "_convolution_pointwise"}
_PRODUCTS = {"matmul", "mm", "addmm", "addmm_", "bmm", "baddbmm"}
_RUNS = 5


class Peaks(NamedTuple):
    """What a device can do.

    Attributes:
        flops: multiplications and additions a second, in the type of the network.
        bytes: bytes a second, read or written.
    """

    flops: float
    bytes: float


def measure_peaks(device: torch.device, dtype: torch.dtype, *, side: int, size: int) -> Peaks:
    """Return the rates of a large matrix product and of a large copy.

    Args:
        device: what to measure.
        dtype: of the matrices.
        side: of the matrices.
        size: of the copy, bytes.
    """
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    product = milliseconds(lambda: a @ b, device, _RUNS)
    copy = milliseconds(lambda: target.copy_(source), device, _RUNS)
    return Peaks(2e3 * side**3 / min(product), 2e3 * size / min(copy))


def milliseconds(run: Callable[[], object], device: torch.device, runs: int) -> list[float]:
    """Return the times of single runs after two untimed ones: by events on a GPU."""
    run()
    run()
    times = []
    for _ in range(runs):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            began = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - began))
    return times


def median(run: Callable[[], object], device: torch.device, runs: int) -> float:
    """Return the median of `milliseconds`."""
    return statistics.median(milliseconds(run, device, runs))


class Roofline(TorchDispatchMode):
    """Adds up the least time of what is computed within the context.

    Args:
        peaks: of the device.

    Attributes:
        flops: multiplications and additions so far.
        milliseconds: the least time so far.
    """

    def __init__(self, peaks: Peaks) -> None:
        super().__init__()
        self._peaks = peaks
        self.flops = 0.0
        self.milliseconds = 0.0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Run an operation and note what it takes."""
        result = func(*args, **(kwargs or {}))
        flops = _flops(func.name().partition("::")[2].partition(".")[0], args, result)
        if flops:
            moved = sum(t.nbytes for t in (*args, result) if isinstance(t, torch.Tensor))
            least = max(flops / self._peaks.flops, moved / self._peaks.bytes)
            self.flops += flops
            self.milliseconds += 1e3 * least
        return result


def _flops(name: str, args: Any, result: Any) -> float:  # noqa: ANN401
    if name in _CONVOLUTIONS:
        return 2.0 * float(result.numel() * args[1][0].numel())
    if name in _PRODUCTS:
        # The factors are the last two tensors; the first of them ends in what is summed over.
        factor = [a for a in args if isinstance(a, torch.Tensor)][-2]
        return 2.0 * float(result.numel() * factor.shape[-1])
    return 0.0
