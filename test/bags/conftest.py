"""Bags of small pictures, built in tmp_path."""

from __future__ import annotations

import numpy as np
import pytest

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.errors import BagError
from deeplab_miou.images.messages import CompressedImage, RawImage

COUNT = 40
SECOND = 1_000_000_000
HEIGHT, WIDTH = 60, 80


def _picture(index: int) -> RawImage:
    pixels = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return RawImage(HEIGHT, WIDTH, "rgb8", False, WIDTH * 3, pixels.tobytes())  # noqa: FBT003


def _read_all(reader, **kwargs):
    """Return what was read and the message of the error at its end, if any."""
    messages = []
    try:
        messages.extend(reader.messages(**kwargs))
    except BagError as error:
        return messages, str(error)
    return messages, None


@pytest.fixture
def picture():
    return _picture


@pytest.fixture
def write_bag(tmp_path):
    def write(storage="mcap", compression="none", count=COUNT):
        path = tmp_path / "bag"
        with BagWriter(path, storage, compression) as writer:
            for index in range(count):
                stamp_ns = 100 * SECOND + index * SECOND // 10
                writer.write_image("/camera/image", stamp_ns, "camera", _picture(index))
                label = CompressedImage("png", b"\x89PNG" + b"x" * 99)
                writer.write_image("/camera/labels", stamp_ns, "camera", label)
        return path

    return write


@pytest.fixture
def read_all():
    return _read_all
