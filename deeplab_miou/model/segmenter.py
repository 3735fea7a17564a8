"""Images in, label maps out: one network on one device, run by one owner."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.metric.confusion import confusion_matrix
from deeplab_miou.model.devices import pick_device, pick_precision, set_threads
from deeplab_miou.model.engines import (
    Engine,
    PlainEngine,
    candidates,
    check_backend,
    keep_memory,
    make_rival,
    seconds,
)
from deeplab_miou.model.inputs import Normalizer, check_images, make_probe
from deeplab_miou.model.outputs import to_labels, to_matrices, to_table
from deeplab_miou.scoring import score_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.model.checkpoints import Checkpoint
    from deeplab_miou.scoring import Scoring

    Size = tuple[int, int]

# What a faster way of computing has to reach to be taken.
_AGREEMENT = 0.999
_ROUNDING = 1e-3

_Target = TypeVar("_Target")
_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)


class Segmenter:
    """Runs a checkpoint's network.

    On a CPU the images of a batch are run one by one, so that the labels of an image do not depend
    on its neighbours: scores of a live and of an offline run are equal to the last count.

    Args:
        checkpoint: the network and what its images need; the segmenter takes it over.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        backend: ``torch``, ``onnxruntime`` (CPU, optional packages) or ``auto``: the faster of
            those installed, timed at warm-up. Rounding differs between the two, so that two runs
            are equal to the last pixel only if they name the backend.
        rewrite: whether the decoder may be computed in another order, which is exact but for
            rounding and takes half the arithmetic (`deeplab_miou.model.fast`).
        threads: CPU threads of the process's networks; None leaves PyTorch's choice.

    Attributes:
        checkpoint: as given.
        device: where it runs, ``cpu`` or ``cuda:N``.
        precision: what it computes in; `warm_up` may set it to ``fp32``.

    Raises:
        ConfigurationError: device, precision, backend or threads cannot be had.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: str = "auto",
        backend: str = "torch",
        rewrite: bool = True,
        threads: int | None = None,
    ) -> None:
        set_threads(threads)
        self._device = pick_device(device)
        self.device = str(self._device)
        if self._device.type == "cuda":
            # fp32 is the reference; TF32, cuDNN's default, has the mantissa of fp16.
            torch.backends.cudnn.allow_tf32 = False
        self.precision = pick_precision(precision, self._device)
        self.checkpoint = checkpoint
        check_backend(backend, self._device)
        self._backend = backend
        self._rewrite = rewrite
        self._fitted: Size | None = None
        self._options = getattr(checkpoint.network, "architecture", None)
        if self._device.type == "cpu":
            keep_memory()
        self._engine: Engine = next(self._candidates())
        self._normalize = Normalizer(checkpoint.preprocessing, self._device)

    def warm_up(self, image_size: Size, output_size: Size | None = None) -> None:
        """Prepare for images of a size, and check the fast computation against the plain one.

        One log line says what was chosen and how well it agrees.

        Args:
            image_size: (height, width) of the images to come.
            output_size: (height, width) of the label maps, by default the same.

        Raises:
            FrameError: an image of this size cannot be segmented.
        """
        image = make_probe(image_size)
        with torch.inference_mode():
            batch = self._normalize([image])
            plain = PlainEngine(self.checkpoint.network, self._device)
            expected = self._run(plain, batch)
            for engine in self._candidates():
                self._engine = engine
                agreement = self._agreement(engine, batch, expected)
                if agreement is not None:
                    break
                self.precision = "fp32"
            if self._backend == "auto":
                self._try_rival(batch, expected)
            if self._device.type != "cpu":
                self.checkpoint.network.cpu()
        self.predict([image], [output_size or image_size])
        _logger.info(
            "network on %s by %s, which labels a probe image as the plain network does (%s)",
            self.device,
            self._engine.name,
            agreement,
        )

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
        options = self._options
        return self._in_batches(
            images, sizes, lambda logits, seen, size: to_labels(logits, seen, size, options)
        )

    def score(
        self,
        images: Sequence[NDArray[np.uint8]],
        ground_truths: Sequence[NDArray[np.uint8]],
        ignore_index: int = 255,
        *,
        watched: bool,
    ) -> Scoring:
        """Start to segment images and to count the result against ground truth."""
        predictions = self.predict(images, [(i.shape[0], i.shape[1]) for i in ground_truths])
        n = self.checkpoint.num_classes
        return score_labels(ground_truths, predictions, n, ignore_index, watched=watched)

    def count(
        self,
        images: Sequence[NDArray[np.uint8]],
        labels: Sequence[NDArray[np.uint8]],
        ignore_index: int = 255,
    ) -> list[NDArray[np.int64]]:
        """Segment images and count the result against ground truth.

        On a GPU the predicted labels stay there and only counts come back.

        Args:
            images: as for `predict`.
            labels: ground truth train ids ``(height, width)``, one map an image.
            ignore_index: ground truth id that counts nowhere.

        Returns:
            Confusion matrices ``(n, n + 1)`` int64, one an image.

        Raises:
            FrameError: as `predict`.
            ValueError: ground truth has ids that are neither below n nor the ignore index.
        """
        n, options = self.checkpoint.num_classes, self._options
        if self._device.type == "cpu":
            predictions = self.predict(images, [(ids.shape[0], ids.shape[1]) for ids in labels])
            return [
                confusion_matrix(truth, prediction, n, ignore_index)
                for truth, prediction in zip(labels, predictions, strict=True)
            ]

        def finish(logits: Tensor, seen: Size, truth: NDArray[np.uint8]) -> Tensor:
            return to_table(logits, seen, truth, options, num_classes=n, ignore_index=ignore_index)

        return to_matrices(self._in_batches(images, labels, finish), n, ignore_index)

    def close(self) -> None:
        """Free the network and its device memory; no method may be called afterwards."""
        del self._engine, self.checkpoint
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _candidates(self) -> Iterator[Engine]:
        return candidates(
            self.checkpoint.network,
            self._device,
            self.precision,
            self._backend,
            rewrite=self._rewrite,
        )

    def _agreement(self, engine: Engine, batch: Tensor, expected: Tensor) -> str | None:
        """Return how well an engine agrees with the plain network; None if not well enough."""
        found = self._run(engine, batch)
        equal = float((expected.argmax(1) == found.argmax(1)).float().mean())
        error = float((expected - found).abs().max() / expected.abs().max().clamp(min=1e-6))
        text = f"{100 * equal:.3f} % equal, largest relative error {error:.1e}"
        if equal >= _AGREEMENT and (self.precision != "fp32" or error <= _ROUNDING):
            return text
        _logger.warning(
            "%s is not used: it disagrees with the plain network (%s)", engine.name, text
        )
        return None

    def _try_rival(self, batch: Tensor, expected: Tensor) -> None:
        """Take the other backend where it is installed, agrees and is faster."""
        rival = make_rival(self.checkpoint.network, self._device, rewrite=self._rewrite)
        if rival is None or self._agreement(rival, batch, expected) is None:
            return
        own, other = seconds(self._engine, batch), seconds(rival, batch)
        _logger.info(
            "%s takes %.0f ms, %s %.0f ms", self._engine.name, 1e3 * own, rival.name, 1e3 * other
        )
        if other < own:
            self._engine = rival

    def _in_batches(
        self,
        images: Sequence[NDArray[np.uint8]],
        targets: Sequence[_Target],
        finish: Callable[[Tensor, Size, _Target], _Result],
    ) -> list[_Result]:
        """Run the network, then finish each image's logits with its target.

        Args:
            images: as for `predict`.
            targets: one an image.
            finish: called with logits ``(n, h, w)``, the size the network saw, and the target.
        """
        if len(images) != len(targets):
            raise ValueError(
                f"{len(images)} images but {len(targets)} sizes or label maps, expected one each"
            )
        check_images(images)
        pairs = list(zip(images, targets, strict=True))
        results: list[_Result] = []
        with torch.inference_mode():
            if self._device.type == "cpu":
                for image, target in pairs:
                    results += self._run_batch([image], [target], finish)
            else:
                # Only images of one size make a batch.
                for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].shape):
                    batch, wanted = zip(*group, strict=True)
                    results += self._run_batch(list(batch), list(wanted), finish)
        return results

    def _run_batch(
        self,
        images: list[NDArray[np.uint8]],
        targets: list[_Target],
        finish: Callable[[Tensor, Size, _Target], _Result],
    ) -> list[_Result]:
        """Do it for images of one size; halve the batch where memory does not suffice."""
        height, width, _ = images[0].shape
        seen = self.checkpoint.preprocessing.size or (height, width)
        try:
            logits = self._run(self._engine, self._normalize(images))
            results = [finish(logits[i], seen, target) for i, target in enumerate(targets)]
        except torch.OutOfMemoryError as error:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            half = len(images) // 2
            if half:
                first = self._run_batch(images[:half], targets[:half], finish)
                return first + self._run_batch(images[half:], targets[half:], finish)
            raise FrameError(
                Reason.INFERENCE_FAILED, self._does_not_fit(images[0].shape)
            ) from error
        if self._fitted is None or height * width > self._fitted[0] * self._fitted[1]:
            self._fitted = (height, width)
        return results

    def _run(self, engine: Engine, batch: Tensor) -> Tensor:
        try:
            return engine.coarse_logits(batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # PyTorch has no class for "too small an image" or for a CPU without memory.
            height, width = batch.shape[-2:]
            reason = str(error).strip().partition("\n")[0]
            raise FrameError(
                Reason.INFERENCE_FAILED,
                f"the network fails on an image of {width}x{height} pixels: {reason}",
            ) from error

    def _does_not_fit(self, shape: tuple[int, ...]) -> str:
        fits = (
            "none has fitted so far"
            if self._fitted is None
            else f"the largest that fitted is {self._fitted[1]}x{self._fitted[0]}"
        )
        return (
            f"an image of {shape[1]}x{shape[0]} pixels does not fit into the memory of "
            f"{self.device}; {fits}: set a smaller input size"
        )
