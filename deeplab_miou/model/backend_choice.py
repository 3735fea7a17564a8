"""Which backend a network runs on: the fastest that labels a test image like the plain network."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import ConfigurationError, FrameError
from deeplab_miou.model.gpu.captured import CapturedBackend
from deeplab_miou.model.inference.backends import PlainBackend, TorchBackend
from deeplab_miou.model.inference.devices import is_out_of_memory
from deeplab_miou.model.inference.host_scorer import run
from deeplab_miou.model.inference.normalise import Normalizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.checkpoints.checkpoint import Checkpoint
    from deeplab_miou.model.gpu.accelerator import Accelerator
    from deeplab_miou.model.gpu.device_scorer import DeviceScorer
    from deeplab_miou.model.inference.backends import Backend
    from deeplab_miou.model.inference.devices import Precision
    from deeplab_miou.model.inference.host_scorer import HostScorer

# What a faster way of computing has to reach to be taken.
_AGREEMENT = 0.999
_ROUNDING = 1e-3

_logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """What was chosen besides the backend.

    Attributes:
        precision: what it computes in.
        agreement: how well it agrees with the plain network, as the end of a log line.
    """

    precision: Precision
    agreement: str


class Probe:
    """A test image, and what the plain network makes of it.

    Args:
        checkpoint: the network.
        device: where it runs.
        image: RGB ``(H, W, 3)`` uint8.

    Attributes:
        checkpoint: as given.
        batch: the image as the network takes it.
        expected: the plain network's coarse logits.

    Raises:
        ConfigurationError: the network's output is not finite.
        FrameError: the device has not the memory.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, image: NDArray[np.uint8]
    ) -> None:
        pixels = torch.from_numpy(image)[None].to(device)
        self.batch = Normalizer(checkpoint.preprocessing, device)(pixels)
        self.checkpoint = checkpoint
        self._device = device
        self.expected = self.run(PlainBackend(checkpoint.network, device), self.batch)
        self._check_finite()

    def agreement(self, backend: Backend, batch: Tensor, precision: Precision) -> str | None:
        """Return how well a backend agrees with the plain network; None if not well enough."""
        found = self.run(backend, batch)
        equal = float((self.expected.argmax(1) == found.argmax(1)).float().mean())
        largest = self.expected.abs().max().clamp(min=1e-6)
        error = float((self.expected - found).abs().max() / largest)
        text = f"{100 * equal:.3f} % equal, largest relative error {error:.1e}"
        if equal >= _AGREEMENT and (precision != "fp32" or error <= _ROUNDING):
            return text
        _logger.warning(
            "%s is not used: it disagrees with the plain network (%s)", backend.name, text
        )
        return None

    def run(self, backend: Backend, batch: Tensor) -> Tensor:
        """Return a backend's coarse logits of the image.

        Raises:
            FrameError: the device has not the memory.
        """
        try:
            return run(backend, batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            height, width = batch.shape[-2:]
            raise FrameError(
                Reason.INFERENCE_FAILED,
                f"{backend.name} does not fit into the memory of {self._device} with an image of "
                f"{width}x{height} pixels: set a smaller input size",
            ) from error

    def _check_finite(self) -> None:
        """Refuse a network whose output is not finite.

        Raises:
            ConfigurationError: pixels of the image have NaN or infinity as their largest logit.
        """
        largest = self.expected.amax(1)
        if bool(largest.isfinite().all()):
            return
        share = 100 * float((~largest.isfinite()).float().mean())
        raise ConfigurationError(
            f"checkpoint {self.checkpoint.path}: the network's output is not finite (NaN or "
            f"infinite) at {share:.0f} % of the pixels of a test image: either its training "
            "diverged, or mean and std are not the ones that it was trained with"
        )


def choose_backend(
    scorer: HostScorer | DeviceScorer,
    candidates: Iterator[Backend],
    probe: Probe,
    precision: Precision,
    accelerator: Accelerator | None,
) -> Choice:
    """Give a scorer the first backend that agrees with the plain network.

    Args:
        scorer: gets the backend.
        candidates: the preferred one first; the plain one ends them, and needs no check.
        probe: what to agree with.
        precision: what was asked for.
        accelerator: captures the backend's work, if it can and a replay agrees; None for a CPU.
    """
    text = ", as it was loaded"
    for backend in candidates:
        scorer.backend = backend
        if isinstance(backend, PlainBackend):
            precision = getattr(probe.checkpoint.network, "precision", "fp32")
            break
        agreement = probe.agreement(backend, probe.batch, precision)
        if agreement is not None:
            text = f", which labels a probe image like the plain network ({agreement})"
            break
        precision = "fp32"
    if accelerator is not None and isinstance(scorer.backend, TorchBackend):
        _try_capturing(scorer, scorer.backend, probe, precision, accelerator)
    return Choice(precision, text)


def _try_capturing(
    scorer: HostScorer | DeviceScorer,
    backend: TorchBackend,
    probe: Probe,
    precision: Precision,
    accelerator: Accelerator,
) -> None:
    captured = CapturedBackend(backend, accelerator)
    images = probe.batch.to(backend.dtype)
    probe.run(captured, images)
    if not captured.has_captures or probe.agreement(captured, images, precision) is not None:
        scorer.backend = captured
