"""Images in, label maps out: one network on one device, run by one owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - its name everywhere

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.devices import pick_device, pick_precision, set_threads
from deeplab_miou.model.network import DeepLabV3Plus, resize_logits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.checkpoints import Checkpoint

_LEVELS = 255.0


class Segmenter:
    """Runs a checkpoint's network.

    On a CPU the images of a batch are run one by one, so that the labels of an image do not depend
    on its neighbours: scores of a live and of an offline run are equal to the last count.

    Args:
        checkpoint: the network and what its images need; the segmenter takes it over.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: CPU threads of the process's networks; None leaves PyTorch's choice.

    Attributes:
        checkpoint: as given.
        device: where it runs, ``cpu`` or ``cuda:N``.
        precision: what it computes in.

    Raises:
        ConfigurationError: device, precision or threads cannot be had.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        set_threads(threads)
        self._device = pick_device(device)
        self.device = str(self._device)
        self.precision = pick_precision(precision, self._device)
        self.checkpoint = checkpoint
        self._network = checkpoint.network.to(self._device).eval()
        scale = torch.tensor(checkpoint.preprocessing.std).mul(_LEVELS).reciprocal()
        shift = -torch.tensor(checkpoint.preprocessing.mean) / torch.tensor(
            checkpoint.preprocessing.std
        )
        self._scale = scale.view(1, 3, 1, 1).to(self._device)
        self._shift = shift.view(1, 3, 1, 1).to(self._device)

    def warm_up(
        self, image_size: tuple[int, int], output_size: tuple[int, int] | None = None
    ) -> None:
        """Run once on a made-up image, so that the first frame is as fast as the next.

        Args:
            image_size: (height, width) of the images to come.
            output_size: (height, width) of the label maps, by default the same.
        """
        noise = np.random.default_rng(0).integers(0, 256, (*image_size, 3), np.uint8)
        self.predict([noise], [output_size or image_size])

    def predict(
        self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]
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
        with torch.inference_mode():
            return [self._segment(i, s) for i, s in zip(images, sizes, strict=True)]

    def close(self) -> None:
        """Free the network and its device memory; no method may be called afterwards."""
        del self._network, self.checkpoint
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _segment(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        batch = self._normalize(image)
        network = self._network
        if isinstance(network, DeepLabV3Plus):
            logits = resize_logits(
                network.coarse_logits(batch),
                (batch.shape[-2], batch.shape[-1]),
                size,
                network.architecture,
            )
        else:
            logits = network(batch)
            if logits.shape[-2:] != size:
                logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        labels: NDArray[np.uint8] = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
        return labels

    def _normalize(self, image: NDArray[np.uint8]) -> Tensor:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:  # noqa: PLR2004
            raise ConfigurationError(
                f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)"
            )
        # Torch takes no negative strides (BGR data seen as RGB): only then is it copied here.
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        batch = pixels.permute(2, 0, 1)[None].float()
        size = self.checkpoint.preprocessing.size
        if size is not None and size != image.shape[:2]:
            batch = F.interpolate(batch, size=size, mode="bilinear", align_corners=False)
        return batch * self._scale + self._shift
