"""Normalises images for the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - its name everywhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from deeplab_miou.model.checkpoints.checkpoint import Preprocessing

_LEVELS = 255.0
_CHANNELS = 3
_WITH_ALPHA = 4


class Stored(NamedTuple):
    """An image as it is laid out in memory, so that copying it is a single memory move.

    Attributes:
        pixels: ``(H, W, c)`` uint8: c is 1 for gray, 3, or 4 where the last is of no interest.
        is_bgr: whether blue comes first.
    """

    pixels: NDArray[np.uint8]
    is_bgr: bool


def as_stored(image: NDArray[np.uint8]) -> Stored:
    """Return an RGB image ``(H, W, 3)`` of any strides as it is laid out in memory."""
    if image.strides[2] == 0:
        return Stored(image[..., :1], is_bgr=False)
    is_bgr = image.strides[2] < 0
    pixels = image[..., ::-1] if is_bgr else image
    return Stored(_with_alpha(pixels), is_bgr)


def _with_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add the fourth channel that lies between three others and the next pixel, if it does."""
    base = pixels.base
    if pixels.strides[1:] != (_WITH_ALPHA, 1) or not isinstance(base, np.ndarray):
        return pixels
    height, width, _ = pixels.shape
    row = pixels.strides[0]
    end = pixels.ctypes.data + (height - 1) * row + _WITH_ALPHA * width
    if row < 0 or not base.flags.c_contiguous or end > base.ctypes.data + base.nbytes:
        return pixels
    return np.lib.stride_tricks.as_strided(
        pixels, (height, width, _WITH_ALPHA), (row, _WITH_ALPHA, 1), writeable=False
    )


class Normalizer:
    """Turns images into the network's input, on the device.

    Args:
        preprocessing: of the network.
        device: where it runs.
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self._size = preprocessing.size
        self._is_bgr = preprocessing.channel_order == "bgr"
        if self._is_bgr:
            mean, std = mean.flip(0), std.flip(0)
        self._scale = (1 / (_LEVELS * std)).view(1, -1, 1, 1).to(device)
        self._shift = (-mean / std).view(1, -1, 1, 1).to(device)

    def __call__(
        self, pixels: Tensor, *, is_bgr: bool = False, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Map pixels as in `Stored`, ``(N, H, W, c)``, to ``(N, 3, H, W)``, channels last."""
        rgb = pixels[..., :_CHANNELS].expand(-1, -1, -1, _CHANNELS)
        batch = (rgb.flip(3) if is_bgr != self._is_bgr else rgb).permute(0, 3, 1, 2)
        if self._size is not None and self._size != pixels.shape[1:3]:
            batch = F.interpolate(
                batch.float(), size=self._size, mode="bilinear", align_corners=False
            )
        # Computed in float32 whatever the type, so that its values are rounded once.
        batch = torch.addcmul(self._shift, batch, self._scale)
        return batch.to(dtype, memory_format=torch.channels_last)


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
