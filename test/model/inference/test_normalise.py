from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_miou.model.checkpoints.load import Preprocessing
from deeplab_miou.model.inference.normalise import Normalizer, as_stored, check_images, make_probe


def make_pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


PADDED = make_pixels(6, 40)  # rows of 9 pixels, and padding

# An image in RGB, the channels that are copied, and whether blue comes first.
LAYOUTS = {
    "rgb": (make_pixels(6, 9, 3), 3, False),
    "bgr": (make_pixels(6, 9, 3)[..., ::-1], 3, True),
    "gray": (np.broadcast_to(make_pixels(6, 9, 1), (6, 9, 3)), 1, False),
    "rgba": (make_pixels(6, 9, 4)[..., :3], 4, False),
    "bgra": (make_pixels(6, 9, 4)[..., 2::-1], 4, True),
    "rows padded": (PADDED[:, :27].reshape(6, 9, 3), 3, False),
    "bgra, rows padded": (
        np.ndarray((6, 9, 4), np.uint8, PADDED, strides=(40, 4, 1))[..., 2::-1],
        4,
        True,
    ),
    "read-only": (np.frombuffer(make_pixels(6, 9, 3), np.uint8).reshape(6, 9, 3), 3, False),
    "bytes of bgra": (
        np.frombuffer(make_pixels(6, 9, 4).tobytes(), np.uint8).reshape(6, 9, 4)[..., 2::-1],
        4,
        True,
    ),
    # Colours after alpha: the fourth byte of the last pixel lies outside the memory.
    "argb": (make_pixels(6, 9, 4)[..., 1:], 3, False),
    "upside down": (make_pixels(6, 9, 4)[::-1, :, :3], 3, False),
    "planar": (make_pixels(3, 6, 9).transpose(1, 2, 0), 3, False),
    "every other pixel": (make_pixels(6, 18, 3)[:, ::2], 3, False),
    "one pixel": (make_pixels(1, 1, 4)[..., 2::-1], 4, True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [None, (8, 16)], ids=["as it is", "resized"])
def test_any_layout_is_normalised_as_its_rgb(layout, dtype, size):
    image, channels, is_bgr = LAYOUTS[layout]
    stored = as_stored(image)
    assert stored.pixels.shape == (*image.shape[:2], channels)
    assert stored.is_bgr is is_bgr
    preprocessing = Preprocessing((0.485, 0.4, 0.3), (0.229, 0.2, 0.9), size)
    batch = torch.from_numpy(np.stack([stored.pixels] * 2))
    kept = batch.clone()
    normalize = Normalizer(preprocessing, torch.device("cpu"))
    found = normalize(batch, is_bgr=stored.is_bgr, dtype=dtype)
    assert torch.equal(batch, kept)

    expected = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].double()
    if size is not None:
        expected = torch.nn.functional.interpolate(expected, size=size, mode="bilinear")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    expected = (expected / 255 - mean) / std
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    # Once rounded: half a unit in the last place, and what float32 adds near zero.
    torch.testing.assert_close(
        found.double(), expected.repeat(2, 1, 1, 1), rtol=torch.finfo(dtype).eps, atol=2e-6
    )


def test_copying_moves_bytes_as_they_lie():
    for layout, (image, _, _) in LAYOUTS.items():
        stored = as_stored(image).pixels
        assert stored.strides[2] >= 0, layout
        assert np.shares_memory(stored, image), layout


@pytest.mark.parametrize(
    "image", [make_pixels(4, 5), make_pixels(4, 5, 4), np.zeros((4, 5, 3), np.float32)]
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        check_images([image])


@pytest.mark.parametrize("size", [(1, 1), (33, 65)])
def test_probe_has_the_size_asked_for(size):
    assert make_probe(size).shape == (*size, 3)
