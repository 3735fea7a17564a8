"""Images in, label maps out: one network on one device, run by one owner."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
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
from deeplab_miou.model.network import LOGIT_STRIDE, resize_logits
from deeplab_miou.model.upsampling import label_map, make_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from deeplab_miou.model.checkpoints import Checkpoint

    Size = tuple[int, int]

_LEVELS = 255.0
_CHANNELS = 3
# What a faster way of computing has to reach to be taken.
_AGREEMENT = 0.999
_ROUNDING = 1e-3

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
        self.precision = pick_precision(precision, self._device)
        self.checkpoint = checkpoint
        check_backend(backend, self._device)
        self._backend = backend
        self._rewrite = rewrite
        self._fitted: Size | None = None
        if self._device.type == "cpu":
            keep_memory()
        self._engine: Engine = next(self._candidates())
        mean, std = (torch.tensor(v) for v in _statistics(checkpoint))
        self._scale = (1 / (_LEVELS * std)).view(1, -1, 1, 1).to(self._device)
        self._shift = (-mean / std).view(1, -1, 1, 1).to(self._device)

    def warm_up(self, image_size: Size, output_size: Size | None = None) -> None:
        """Prepare for images of a size, and check the fast computation against the plain one.

        One log line says what was chosen and how well it agrees.

        Args:
            image_size: (height, width) of the images to come.
            output_size: (height, width) of the label maps, by default the same.

        Raises:
            FrameError: an image of this size cannot be segmented.
        """
        image = _probe(image_size)
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
        if len(images) != len(sizes):
            raise ValueError(f"{len(images)} images but {len(sizes)} sizes, expected one each")
        for image in images:
            if image.ndim != 3 or image.shape[2] != _CHANNELS or image.dtype != np.uint8:  # noqa: PLR2004
                raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        pairs = list(zip(images, sizes, strict=True))
        labels: list[NDArray[np.uint8]] = []
        with torch.inference_mode():
            if self._device.type == "cpu":
                for image, size in pairs:
                    labels += self._predict_batch([image], [size])
            else:
                # Only images of one size make a batch.
                for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].shape):
                    batch, wanted = zip(*group, strict=True)
                    labels += self._predict_batch(list(batch), list(wanted))
        return labels

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

    def _predict_batch(
        self, images: list[NDArray[np.uint8]], sizes: list[Size]
    ) -> list[NDArray[np.uint8]]:
        """Segment images of one size; halve the batch where memory does not suffice."""
        try:
            logits = self._run(self._engine, self._normalize(images))
            labels = [self._label(logits[i], images[0].shape, s) for i, s in enumerate(sizes)]
        except torch.OutOfMemoryError as error:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            half = len(images) // 2
            if half:
                first = self._predict_batch(images[:half], sizes[:half])
                return first + self._predict_batch(images[half:], sizes[half:])
            raise FrameError(
                Reason.INFERENCE_FAILED, self._does_not_fit(images[0].shape)
            ) from error
        height, width, _ = images[0].shape
        if self._fitted is None or height * width > self._fitted[0] * self._fitted[1]:
            self._fitted = (height, width)
        return labels

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

    def _label(self, logits: Tensor, image_shape: tuple[int, ...], size: Size) -> NDArray[np.uint8]:
        """Upsample one image's logits ``(n, h, w)`` and take the argmax."""
        image_size = self.checkpoint.preprocessing.size or (image_shape[0], image_shape[1])
        options = getattr(self.checkpoint.network, "architecture", None)
        align = options is not None and options.align_corners
        cropped = options is not None and options.resize == "crop"
        if self._device.type != "cpu" or (cropped and size != image_size):
            full = (
                resize_logits(logits[None], image_size, size, options)
                if options is not None
                else F.interpolate(logits[None], size=size, mode="bilinear")
            )
            labels: NDArray[np.uint8] = full.argmax(1)[0].to(torch.uint8).cpu().numpy()
            return labels
        axes = []
        for inputs, outputs in zip(logits.shape[1:], size, strict=True):
            stretched = LOGIT_STRIDE * inputs if cropped else outputs
            axes.append(make_axis(inputs, stretched, align_corners=align, kept=outputs))
        return label_map(logits.permute(1, 2, 0).contiguous().numpy(), *axes)

    def _normalize(self, images: list[NDArray[np.uint8]]) -> Tensor:
        """Return float32 ``(N, 3, H, W)``, channels last in memory."""
        # Copied: a message's bytes are read-only, BGR seen as RGB has a negative stride, and torch
        # takes neither.
        pixels = [torch.from_numpy(np.array(image, order="C")) for image in images]
        stacked = pixels[0][None] if len(pixels) == 1 else torch.stack(pixels)
        batch = stacked.to(self._scale.device).permute(0, 3, 1, 2).float()
        size = self.checkpoint.preprocessing.size
        if size is not None and size != images[0].shape[:2]:
            batch = F.interpolate(batch, size=size, mode="bilinear", align_corners=False)
        return batch.mul_(self._scale).add_(self._shift)


def _statistics(checkpoint: Checkpoint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return checkpoint.preprocessing.mean, checkpoint.preprocessing.std


def _probe(size: Size) -> NDArray[np.uint8]:
    """Return a made-up image with both flat areas and noise."""
    height, width = size
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), np.uint8)
    image = np.kron(blocks, np.ones((32, 32, 1), np.uint8))[:height, :width]
    noise = generator.integers(0, 32, image.shape, np.uint8)
    return np.where(image < 128, image + noise, image - noise)  # noqa: PLR2004 - never wraps
