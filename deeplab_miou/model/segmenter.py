"""Images in, label maps or counts out: one network on one device, run by one owner."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from deeplab_miou.memory import keep_freed_memory
from deeplab_miou.model.backend_choice import Probe, choose_backend
from deeplab_miou.model.gpu.accelerator import CudaAccelerator
from deeplab_miou.model.gpu.device_scorer import DeviceScorer
from deeplab_miou.model.inference.backends import (
    Backend,
    PlainBackend,
    candidates,
    check_backend,
)
from deeplab_miou.model.inference.devices import (
    is_out_of_memory,
    pick_device,
    pick_precision,
    set_threads,
)
from deeplab_miou.model.inference.host_scorer import HostScorer, readable
from deeplab_miou.model.inference.normalise import check_images, make_probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.metric.frame_scores import PendingScores
    from deeplab_miou.model.checkpoints.load import Checkpoint
    from deeplab_miou.model.gpu.accelerator import Accelerator

    Size = tuple[int, int]

# Bytes that a CPU keeps between frames.
_ACTIVATIONS = 1 << 30

_logger = logging.getLogger(__name__)


class Segmenter:
    """Runs a checkpoint's network.

    On a CPU the images of a batch are run one by one, so that the labels of an image do not depend
    on its neighbours: scores of a live and of an offline run are equal to the last count. On a GPU
    so are large images; small ones of one size are run together.

    Args:
        checkpoint: the network and what its images need; the segmenter takes it over.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        backend: ``torch``, PyTorch with all that makes it fast here; ``onnxruntime`` (optional
            packages; on a GPU by TensorRT or CUDA); ``eager``, the network as it was loaded, by
            ordinary PyTorch calls, and counted on the CPU; or ``auto``, ``torch``, and ``eager``
            where a GPU cannot do that. Rounding differs between them.
        rewrite: whether the decoder may be computed in another order, which is exact but for
            rounding and takes half the arithmetic (`deeplab_miou.model.inference.fast`).
        threads: CPU threads of the process's networks; None leaves PyTorch's choice.

    Attributes:
        checkpoint: as given.
        device: where it runs, ``cpu`` or ``cuda:N``.
        precision: what it computes in; `warm_up` may set it to ``fp32``, or to a program's own.
        backend: as given; `warm_up` replaces ``auto`` by what it stands for.
        has_confidence: whether the network puts out more than ids.

    Raises:
        ConfigurationError: device, precision, backend or threads cannot be had.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "auto",
        rewrite: bool = True,
        threads: int | None = None,
    ) -> None:
        set_threads(threads)
        self._device = pick_device(device)
        self.device = str(self._device)
        self.precision = pick_precision(precision, self._device)
        self.checkpoint = checkpoint
        self.has_confidence = checkpoint.output != "label map"
        check_backend(backend)
        self.backend = backend
        self._rewrite = rewrite
        self._accelerator: Accelerator | None = None
        if self._device.type == "cuda":
            # fp32 is the reference; TF32, cuDNN's default, has the mantissa of fp16.
            torch.backends.cudnn.allow_tf32 = False
            if backend != "eager" and checkpoint.output != "label map":
                self._accelerator = CudaAccelerator(self._device)
        else:
            # The pages of an activation of 40 MB cost more than the convolution that fills it
            # (measured: 25 ms of 29 in one layer).
            keep_freed_memory(largest_block=_ACTIVATIONS, most=_ACTIVATIONS)
        self._scorer = self._make_scorer(next(self._candidates()))

    def warm_up(self, image_size: Size, output_size: Size | None = None) -> None:
        """Prepare for images of a size, and check the fast computation against the plain one.

        One log line says what was chosen and how well it agrees.

        Args:
            image_size: (height, width) of the images to come.
            output_size: (height, width) of the label maps, by default the same.

        Raises:
            FrameError: an image of this size cannot be segmented.
            ConfigurationError: the network's output is not finite.
        """
        image, size = make_probe(image_size), output_size or image_size
        with torch.inference_mode():
            try:
                agreement = self._prepare(image, size)
            except (RuntimeError, AssertionError) as error:
                if self.backend != "auto" or self._accelerator is None or is_out_of_memory(error):
                    raise
                self._resort_to_eager(error)
                agreement = self._prepare(image, size)
        if self.backend == "auto":
            self.backend = "torch"
        _logger.info("network on %s by %s%s", self.device, self._scorer.backend.name, agreement)

    def as_input(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image as it need not be copied when it is segmented; any thread may ask.

        Args:
            image: RGB ``(H, W, 3)``, any strides.

        Returns:
            The same, or on a CPU a copy where PyTorch could not read it as it lies. A GPU is given
            whatever lies in memory.
        """
        return readable(image) if self._device.type == "cpu" else image

    def predict(
        self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[Size]
    ) -> list[NDArray[np.uint8]]:
        """Segment images.

        Args:
            images: RGB images ``(H, W, 3)``, any strides.
            sizes: (height, width) of each label map wanted.

        Returns:
            Train ids ``(height, width)``, one map an image: the class of the largest logit after
            bilinear resampling, the first of equals.

        Raises:
            FrameError: an image cannot be segmented (`Reason.INFERENCE_FAILED`).
        """
        _check(images, sizes)
        with torch.inference_mode():
            return self._scorer.predict(images, sizes)

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        ignore_index: int = 255,
        *,
        keep_predictions: bool = False,
        keep_confidences: bool = False,
    ) -> PendingScores:
        """Start to segment images and to count the result against ground truth.

        On a GPU the predicted labels stay there, and the next images may be given to it before the
        result is asked for: these are then uploaded while it computes.

        Args:
            images: as for `predict`.
            ground_truths: train ids ``(height, width)``, one map an image.
            ignore_index: ground truth id that counts nowhere.
            keep_predictions: whether the scores hold the label maps too.
            keep_confidences: whether they hold the confidences of these labels too, see
                `deeplab_miou.model.logits.confidences`; only with the label maps.

        Returns:
            A score for each image, when its result is asked for; that raises ValueError where
            ground truth has ids that are neither below n nor the ignore index.

        Raises:
            FrameError: as `predict`.
            ValueError: as the result, on a CPU.
        """
        _check(images, ground_truths)
        with torch.inference_mode():
            return self._scorer.score(
                images,
                ground_truths,
                ignore_index,
                keep_predictions=keep_predictions,
                keep_confidences=keep_confidences and self.has_confidence,
            )

    def close(self) -> None:
        """Free the network and its device memory; no method may be called afterwards."""
        self._scorer.close()
        del self._scorer, self.checkpoint
        if self._accelerator is not None:
            self._accelerator.release()

    def _candidates(self) -> Iterator[Backend]:
        return candidates(
            self.checkpoint.network,
            self._device,
            self.precision,
            self.backend,
            rewrite=self._rewrite,
        )

    def _make_scorer(self, backend: Backend) -> HostScorer | DeviceScorer:
        if self._accelerator is None:
            return HostScorer(backend, self.checkpoint, self._device)
        return DeviceScorer(backend, self.checkpoint, self._accelerator)

    def _prepare(self, image: NDArray[np.uint8], size: Size) -> str:
        """Pick a backend and score the probe image once; say how well the backend agrees."""
        self.precision, agreement = choose_backend(
            self._scorer,
            self._candidates(),
            Probe(self.checkpoint, self._device, image),
            self.precision,
            self._accelerator,
        )
        if isinstance(self._scorer, DeviceScorer):
            if not isinstance(self._scorer.backend, PlainBackend):
                # Only the copy that a backend made of it stays in the device's memory.
                self.checkpoint.network.cpu()
            self._scorer.check_counting(image, size)
        else:
            self._scorer.predict([image], [size])
        return agreement

    def _resort_to_eager(self, error: BaseException) -> None:
        """Fall back to backend eager; if the device is dead, the next call fails too."""
        _logger.warning(
            "backend torch fails on %s (%s): using backend eager, which is slower",
            self.device,
            str(error).strip().partition("\n")[0] or type(error).__name__,
        )
        self._scorer.close()
        self.backend, self.precision, self._accelerator = "eager", "fp32", None
        self._scorer = self._make_scorer(next(self._candidates()))


def _check(images: Sequence[NDArray[np.uint8]], targets: Sequence[object]) -> None:
    if len(images) != len(targets):
        raise ValueError(
            f"{len(images)} images but {len(targets)} sizes or label maps, expected one each"
        )
    check_images(images)
