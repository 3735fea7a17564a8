"""Turns images into label maps one by one, and counts them on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.metric.frame_scores import FinishedScores, score_labels
from deeplab_miou.model.inference.devices import is_out_of_memory
from deeplab_miou.model.inference.normalise import Normalizer
from deeplab_miou.model.logits.outputs import to_confidences, to_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.metric.frame_scores import PendingScores
    from deeplab_miou.model.checkpoints.checkpoint import Checkpoint
    from deeplab_miou.model.inference.backends import Backend

    Size = tuple[int, int]


class HostScorer:
    """Runs a backend and takes its logits to the CPU.

    The images of a batch are run one by one, so that the labels of an image do not depend on its
    neighbours.

    Args:
        backend: computes coarse logits.
        checkpoint: whose network that is.
        device: where it runs.
    """

    def __init__(self, backend: Backend, checkpoint: Checkpoint, device: torch.device) -> None:
        self.backend = backend
        self._device = device
        self._checkpoint = checkpoint
        self._architecture = getattr(checkpoint.network, "architecture", None)
        self._normalize = Normalizer(checkpoint.preprocessing, device)

    def predict(
        self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]
    ) -> list[NDArray[np.uint8]]:
        """See `deeplab_miou.model.segmenter.Segmenter.predict`."""
        return [
            to_labels(*self._logits(image), size, self._architecture)
            for image, size in zip(images, sizes, strict=True)
        ]

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        ignore_index: int,
        *,
        keep_predictions: bool,
        keep_confidences: bool = False,
    ) -> PendingScores:
        """See `deeplab_miou.model.segmenter.Segmenter.score`."""
        predictions, confidences = [], []
        for image, truth in zip(images, ground_truths, strict=True):
            logits, seen = self._logits(image)
            labels = to_labels(logits, seen, (truth.shape[0], truth.shape[1]), self._architecture)
            predictions.append(labels)
            confidences.append(self._confidence(logits, seen, labels) if keep_confidences else None)
        scores = score_labels(
            ground_truths,
            predictions,
            self._checkpoint.num_classes,
            ignore_index,
            keep_predictions=keep_predictions,
        ).result()
        return FinishedScores(
            [s._replace(confidence=c) for s, c in zip(scores, confidences, strict=True)]
        )

    def close(self) -> None:
        """Do nothing: it holds no memory of a device."""

    def _logits(self, image: NDArray[np.uint8]) -> tuple[Tensor, Size]:
        """Return the coarse logits ``(n, h, w)`` of an image, and (H, W) that the network saw."""
        pixels = torch.from_numpy(readable(image))[None].to(self._device)
        seen = self._checkpoint.preprocessing.size or (image.shape[0], image.shape[1])
        logits = run(self.backend, self._normalize(pixels)).cpu()
        if not bool(logits.amax(1).isfinite().all()):
            raise FrameError(
                Reason.INFERENCE_FAILED, "the network's output is not finite (NaN or infinity)"
            )
        return logits[0], seen

    def _confidence(
        self, logits: Tensor, seen: Size, labels: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        found = to_confidences(
            logits[None],
            seen,
            torch.from_numpy(labels)[None],
            self._architecture,
            self._checkpoint.output,
        )
        confidence: NDArray[np.uint8] = found[0].numpy()
        return confidence


def readable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an array as torch takes it, a copy if need be.

    A message's bytes are read-only and BGR seen as RGB has a negative stride: torch takes neither.
    """
    return np.require(image, requirements=("C", "W"))


def run(backend: Backend, batch: Tensor) -> Tensor:
    """Run a backend; one channel becomes two classes, the first with logit 0.

    Raises:
        FrameError: it fails on images like these.
        RuntimeError: memory did not suffice, or the device is dead.
    """
    try:
        found = backend.coarse_logits(batch)
    except RuntimeError as error:
        if is_out_of_memory(error) or "CUDA error" in str(error):
            raise
        # PyTorch has no class for "too small an image" or for a CPU without memory.
        height, width = batch.shape[-2:]
        reason = str(error).strip().partition("\n")[0]
        raise FrameError(
            Reason.INFERENCE_FAILED,
            f"the network fails on an image of {width}x{height} pixels: {reason}",
        ) from error
    if found.is_floating_point() and found.shape[1] == 1:
        return torch.cat([torch.zeros_like(found), found], 1)
    return found
