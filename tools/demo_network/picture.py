"""Draws the README's pictures: a rendered frame, its ground truth and the network's prediction."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deeplab_miou.demo import scenes
from deeplab_miou.demo.scenes import SceneRenderer
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.segmenter import Segmenter
from demo_network.drives import HELD_OUT_SEED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CHECKPOINT = Path(scenes.__file__).with_name("demo.safetensors")
_SIZE = (480, 640)
_GAP = 8


def draw(checkpoint: Path, seed: int, time_s: float) -> NDArray[np.uint8]:
    """Draw image, ground truth and prediction side by side.

    Args:
        checkpoint: a network with a label map inside.
        seed: which drive.
        time_s: which moment of it, seconds.

    Returns:
        (480, 3 * 640 + 2 gaps, 3) RGB; ignored ground truth is black.
    """
    loaded = checkpoints.load(checkpoint)
    if loaded.label_map is None:
        raise ValueError(f"{checkpoint}: no label map inside, expected the demo's checkpoint")
    scene = SceneRenderer(seed, *_SIZE).render(time_s)
    prediction = Segmenter(loaded, device="cpu").predict([scene.image], [_SIZE])[0]
    truth = loaded.label_map.map_ids(scene.label).ids
    gap = np.full((_SIZE[0], _GAP, 3), 255, np.uint8)
    colorize = loaded.label_map.colorize
    return np.concatenate([scene.image, gap, colorize(truth), gap, colorize(prediction)], axis=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a picture; the format follows from the file's name."""
    parser = argparse.ArgumentParser(prog="python -m demo_network.picture", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="file to write, .png or .jpg")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="which drive")
    parser.add_argument("--time", type=float, default=4.0, help="seconds into the drive")
    parser.add_argument("--width", type=int, default=1280, help="of the picture, pixels")
    options = parser.parse_args(arguments)
    picture = draw(options.checkpoint, options.seed, options.time)
    height = round(picture.shape[0] * options.width / picture.shape[1])
    small = cv2.resize(picture, (options.width, height), interpolation=cv2.INTER_AREA)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(options.output), cv2.cvtColor(small, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{options.output}: cannot be written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
