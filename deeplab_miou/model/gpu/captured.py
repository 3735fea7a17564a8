"""A backend whose work is captured once per input shape and then replayed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deeplab_miou.model.gpu.accelerator import Accelerator, Capture
    from deeplab_miou.model.inference.backends import Backend

_MOST = 4
# Runs after which a capture that was not replayed may be replaced by another.
_STALE = 100
# Pixels that a replay has to label as the first run did; they may differ in how they round.
_AGREEMENT = 0.999

_logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    images: Tensor
    capture: Capture
    last_run: int


class CapturedBackend:
    """Runs a backend; for input shapes that it has seen before, its recorded steps are replayed.

    A capture is made after the first run on a shape, while there is room for one; after a
    failure, nothing more is captured, and the backend runs without.

    Args:
        backend: what is captured; it never waits for the device, but in its first run on a shape.
        accelerator: the backend's device.

    Attributes:
        name: as the backend's, and that it is captured.
        dtype: as the backend's.
    """

    def __init__(self, backend: Backend, accelerator: Accelerator) -> None:
        self.name = f"{backend.name}, recorded as {accelerator.capture_name}"
        self.dtype: torch.dtype = backend.dtype
        self._backend = backend
        self._accelerator = accelerator
        self._entries: OrderedDict[tuple[int, ...], _Entry] = OrderedDict()
        self._runs = 0
        self._stopped = False

    def coarse_logits(self, images: Tensor) -> Tensor:
        """Map ``(N, 3, H, W)`` to ``(N, n, h, w)``, which the next call overwrites."""
        self._runs += 1
        shape = tuple(images.shape)
        entry = self._entries.get(shape)
        if entry is None:
            logits = self._backend.coarse_logits(images)
            if not self._stopped and self._has_room():
                self._capture(shape, images, logits)
            return logits
        self._entries[shape] = entry._replace(last_run=self._runs)
        self._entries.move_to_end(shape)
        entry.images.copy_(images)
        entry.capture.replay()
        return entry.capture.output

    @property
    def has_captures(self) -> bool:
        """Whether there is a capture of any shape."""
        return bool(self._entries)

    def stop(self, reason: str) -> None:
        """Forget all captures and make no more.

        Args:
            reason: for the log.
        """
        if not self._stopped:
            _logger.warning("%s is not used: %s", self._accelerator.capture_name, reason)
        self._stopped = True
        self.name = self._backend.name
        if self._entries:
            # A capture must not lose its memory while the device is at it.
            self._accelerator.mark().synchronize()
            self._entries.clear()

    def _has_room(self) -> bool:
        if len(self._entries) < _MOST:
            return True
        oldest = next(iter(self._entries.values()))
        return self._runs - oldest.last_run > _STALE

    def _capture(self, shape: tuple[int, ...], images: Tensor, logits: Tensor) -> None:
        """Capture the run on a shape whose first result is given."""
        if len(self._entries) == _MOST:
            self._accelerator.mark().synchronize()
            self._entries.popitem(last=False)
        sharing = next((entry.capture for entry in self._entries.values()), None)
        try:
            own = images.clone()
            capture = self._accelerator.capture(lambda: self._backend.coarse_logits(own), sharing)
            capture.replay()
            same = float((capture.output.argmax(1) == logits.argmax(1)).float().mean())
        except Exception as error:  # noqa: BLE001 - drivers and libraries fail in ways of their own
            self.stop(str(error).strip().partition("\n")[0] or type(error).__name__)
            return
        if not same >= _AGREEMENT:
            self.stop(f"a replay labels {100 * same:.3f} % of an image as the first run did")
            return
        self._entries[shape] = _Entry(own, capture, self._runs)
