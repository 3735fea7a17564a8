"""Device operations other than computing: copies, events in its queue, captures of work.

All that only CUDA has is in `CudaAccelerator`. `CpuAccelerator` does the same steps at once, so
that whatever uses them runs on a CPU too. Calls come from one thread at a time, with one current
stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Mark(Protocol):
    """A place in a device's queue of work."""

    def query(self) -> bool:
        """Return whether the work before it is done."""

    def synchronize(self) -> None:
        """Wait until the work before it is done."""


class Capture(Protocol):
    """Captured work that a device can repeat without step-by-step launches.

    Attributes:
        output: what the function returned; every `replay` overwrites it.
    """

    output: Tensor

    def replay(self) -> None:
        """Queue the work; its inputs are the same memory, whatever that holds by then."""


class Accelerator(Protocol):
    """A device's queue of work.

    Attributes:
        device: which.
        capture_name: what a capture is called in logs; empty where there is no use in one.
    """

    device: torch.device
    capture_name: str

    def host_memory(self, size: int) -> Tensor:
        """Return ``(size,)`` uint8 on the host that copies can use while the device works."""

    def upload(self, target: Tensor, source: Tensor, after: Mark | None) -> Mark:
        """Copy host memory to the device while it works; work queued from now on waits for that.

        Args:
            target: on the device, contiguous.
            source: from `host_memory`, of the same shape; must not change before the mark.
            after: the copy waits for this; None for all that was queued so far.
        """

    def download(self, target: Tensor, source: Tensor) -> None:
        """Queue a copy to `host_memory`; it is there once a later mark is reached."""

    def mark(self) -> Mark:
        """Return a mark behind all that was queued so far."""

    def capture(self, run: Callable[[], Tensor], sharing: Capture | None) -> Capture:
        """Capture what a function queues; nothing is computed.

        Args:
            run: has run before on tensors of the same shapes; its inputs stay where they are.
            sharing: an earlier capture, whose memory may be shared: the two take turns, and
                the output of one is used before the other is replayed.

        Raises:
            Exception: it cannot be captured. After an error of CUDA no other function can be.
        """

    def release(self) -> None:
        """Give memory that is not in use back to the device."""


class Reached:
    """A mark in the queue of a device that does everything at once."""

    def query(self) -> bool:
        """Return True."""
        return True

    def synchronize(self) -> None:
        """Return."""


class _Repeated:
    def __init__(self, run: Callable[[], Tensor]) -> None:
        self._run = run
        self.output = run()

    def replay(self) -> None:
        self.output.copy_(self._run())


class CpuAccelerator:
    """Every step is done when it is asked for."""

    device = torch.device("cpu")
    capture_name = "a repeated call"

    def host_memory(self, size: int) -> Tensor:
        """Return memory."""
        return torch.empty(size, dtype=torch.uint8)

    def upload(self, target: Tensor, source: Tensor, after: Mark | None) -> Mark:  # noqa: ARG002
        """Copy."""
        target.copy_(source)
        return Reached()

    def download(self, target: Tensor, source: Tensor) -> None:
        """Copy."""
        target.copy_(source)

    def mark(self) -> Mark:
        """Return a mark that is reached."""
        return Reached()

    def capture(self, run: Callable[[], Tensor], sharing: Capture | None) -> Capture:  # noqa: ARG002
        """Keep the function, to be called again."""
        return _Repeated(run)

    def release(self) -> None:
        """Do nothing."""


class _Graph:
    def __init__(self, graph: torch.cuda.CUDAGraph) -> None:
        self.graph = graph
        self.replay = graph.replay
        self.output = torch.empty(0)


class CudaAccelerator:
    """A GPU: the work is queued on the current stream, uploads on a stream of their own.

    Args:
        device: ``cuda:N``.
    """

    capture_name = "a CUDA graph"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._uploads = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._captures = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._broken: list[_Graph] = []

    def host_memory(self, size: int) -> Tensor:
        """Return pinned memory."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def upload(self, target: Tensor, source: Tensor, after: Mark | None) -> Mark:
        """Copy on the stream for uploads."""
        own = torch.cuda.current_stream(self.device)
        if isinstance(after, torch.cuda.Event):
            self._uploads.wait_event(after)
        else:
            self._uploads.wait_stream(own)
        with torch.cuda.stream(self._uploads):
            target.copy_(source, non_blocking=True)
        copied = _event()
        copied.record(self._uploads)
        own.wait_event(copied)
        return copied

    def download(self, target: Tensor, source: Tensor) -> None:
        """Copy on the current stream: results are small, and the next upload is on the other."""
        target.copy_(source, non_blocking=True)

    def mark(self) -> Mark:
        """Return an event."""
        event = _event()
        event.record(torch.cuda.current_stream(self.device))
        return event

    def capture(self, run: Callable[[], Tensor], sharing: Capture | None) -> Capture:
        """Capture a CUDA graph."""
        if self._broken:
            raise RuntimeError("an earlier capture failed")
        captured = _Graph(torch.cuda.CUDAGraph())
        pool = sharing.graph.pool() if isinstance(sharing, _Graph) else None
        own = torch.cuda.current_stream(self.device)
        try:
            # The outer context brings the current stream back where the inner one fails to. Other
            # threads may call CUDA meanwhile, /diagnostics for one.
            with (
                torch.cuda.stream(own),
                torch.cuda.graph(
                    captured.graph,
                    pool=pool,
                    stream=self._captures,
                    capture_error_mode="thread_local",
                ),
            ):
                captured.output = run()
        except Exception:
            # Its memory goes back, but PyTorch's allocator keeps a pointer to a graph whose capture
            # CUDA broke off.
            captured.graph.reset()
            self._broken.append(captured)
            raise
        return captured

    def release(self) -> None:
        """Empty PyTorch's cache."""
        torch.cuda.empty_cache()


def _event() -> torch.cuda.Event:
    # Waiting blocks the thread instead of turning in circles: the robot has other work.
    event: torch.cuda.Event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    return event
