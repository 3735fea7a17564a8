"""Renders a drive into a rosbag2: camera images with labels, as an annotated recording has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.demo.scenes import SceneRenderer
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.images.messages import RawImage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

IMAGE_TOPIC = "/camera/image"
LABEL_TOPIC = "/camera/labels"
DEMO_SEED = 2_000_004  # a held-out drive: the shipped network has never seen it
KEY_FRAME_EVERY = 5

_START_NS = 1_700_000_000_000_000_000
_FRAME_ID = "camera"


def labelled(index: int, frames: int) -> bool:
    """Return whether a frame of the demo bag has a label: the whole first half, then key frames."""
    half = (frames + 1) // 2
    return index < half or (index - half) % KEY_FRAME_EVERY == 0


def write_demo_bag(
    path: Path | str,
    seed: int = DEMO_SEED,
    frames: int = 240,
    *,
    rate_hz: float = 10.0,
    size: tuple[int, int] = (480, 640),
    storage: Literal["mcap", "sqlite3"] = "mcap",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render a drive and write it as ``sensor_msgs/Image``: rgb8 pictures and mono8 train ids.

    The first half is labelled frame by frame, the second at every fifth frame only, as drives
    annotated at key frames are.

    Args:
        path: folder to create.
        seed: which drive; the default was held out from training.
        frames: number of images.
        rate_hz: images a second, in stamps and in the world.
        size: (height, width) of images and labels.
        storage: format of the bag's file.
        progress: called with (frames written, frames) after each.

    Raises:
        BagError: the folder exists already or cannot be written.
        ConfigurationError: no frames, or a rate that is not positive.
    """
    if frames < 1 or not rate_hz > 0:
        raise ConfigurationError(
            f"demo bag: frames is {frames} and rate_hz {rate_hz}, expected 1 or more and above 0"
        )
    renderer = SceneRenderer(seed, *size)
    with BagWriter(path, storage=storage) as writer:
        for index in range(frames):
            scene = renderer.render(index / rate_hz)
            stamp_ns = _START_NS + round(index * 1e9 / rate_hz)
            writer.write_image(IMAGE_TOPIC, stamp_ns, _FRAME_ID, _message(scene.image, "rgb8"))
            if labelled(index, frames):
                writer.write_image(LABEL_TOPIC, stamp_ns, _FRAME_ID, _message(scene.label, "mono8"))
            if progress is not None:
                progress(index + 1, frames)


def _message(pixels: NDArray[np.uint8], encoding: str) -> RawImage:
    height, width = pixels.shape[:2]
    return RawImage(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=False,
        step=pixels.strides[0],
        data=pixels.tobytes(),
    )
