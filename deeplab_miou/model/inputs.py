"""Images as a network wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - its name everywhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.records import Preprocessing

_LEVELS = 255.0
_CHANNELS = 3


class Normalizer:
    """Makes batches of images, on the device.

    Args:
        preprocessing: of the network.
        device: where it runs.
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self._size = preprocessing.size
        self._scale = (1 / (_LEVELS * std)).view(1, -1, 1, 1).to(device)
        self._shift = (-mean / std).view(1, -1, 1, 1).to(device)

    def __call__(self, images: list[NDArray[np.uint8]]) -> Tensor:
        """Map RGB images ``(H, W, 3)`` of one size to float32 ``(N, 3, H, W)``, channels last."""
        # Copied: a message's bytes are read-only, BGR seen as RGB has a negative stride, and torch
        # takes neither.
        pixels = [torch.from_numpy(np.array(image, order="C")) for image in images]
        stacked = pixels[0][None] if len(pixels) == 1 else torch.stack(pixels)
        batch = stacked.to(self._scale.device).permute(0, 3, 1, 2).float()
        if self._size is not None and self._size != images[0].shape[:2]:
            batch = F.interpolate(batch, size=self._size, mode="bilinear", align_corners=False)
        return batch.mul_(self._scale).add_(self._shift)


def check_images(images: Sequence[NDArray[np.uint8]]) -> None:
    """Check that images are RGB.

    Raises:
        ValueError: one is not uint8 ``(H, W, 3)``.
    """
    for image in images:
        if image.ndim != 3 or image.shape[2] != _CHANNELS or image.dtype != np.uint8:  # noqa: PLR2004
            raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")


def make_probe(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a made-up image ``(*size, 3)`` with both flat areas and noise."""
    height, width = size
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), np.uint8)
    image = np.kron(blocks, np.ones((32, 32, 1), np.uint8))[:height, :width]
    noise = generator.integers(0, 32, image.shape, np.uint8)
    return np.where(image < 128, image + noise, image - noise)  # noqa: PLR2004 - never wraps
