"""Frames of many drives for training and scoring: which seeds, rendered where, held how."""

from __future__ import annotations

import multiprocessing
import os
import queue
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from deeplab_miou.demo.scenes import SceneRenderer
from deeplab_miou.labels.label_map import LabelMap, load_label_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

# Drives are told apart by seed; the three ranges never meet.
TRAINING_SEED = 10_000
VALIDATION_SEED = 1_000_000  # looked at while the recipe was chosen
HELD_OUT_SEED = 2_000_000  # only ever scored

HELD_OUT_DRIVES = 24
FRAMES_PER_DRIVE = 10
_SPACING_S = 2.7  # between two frames of a drive: about 25 m of road
SIZE = (480, 640)  # what is rendered and scored

_POOL = 2400


def render_drive(
    seed: int, frames: int, label_map: LabelMap
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield frames of a drive, far enough apart to differ.

    Args:
        seed: which drive.
        frames: how many.
        label_map: what turns the rendered labels into the network's classes.

    Yields:
        Image (480, 640, 3) RGB and classes (480, 640), `IGNORE_INDEX` where not scored.
    """
    renderer = SceneRenderer(seed, *SIZE)
    start = seed % 7 * 0.9
    for index in range(frames):
        scene = renderer.render(start + index * _SPACING_S)
        yield scene.image, label_map.map_ids(scene.label).ids


def _render_forever(
    frames: multiprocessing.Queue[tuple[bytes, bytes]], size: tuple[int, int]
) -> None:
    """Render drive after drive into a queue; runs in a process of its own."""
    cv2.setNumThreads(1)
    os.nice(5)  # where cores are short, training goes first
    label_map = load_label_map("demo")
    seed = TRAINING_SEED
    while True:
        for image, label in render_drive(seed, FRAMES_PER_DRIVE, label_map):
            columns_rows = size[::-1]
            small = cv2.resize(image, columns_rows, interpolation=cv2.INTER_LINEAR)
            target = cv2.resize(label, columns_rows, interpolation=cv2.INTER_NEAREST_EXACT)
            frames.put((small.tobytes(), target.tobytes()))
        seed += 1


class FramePool:
    """A process that renders drive after drive, its latest frames, and batches drawn from them.

    Args:
        size: (height, width) to which frames are reduced.

    Attributes:
        received: frames rendered so far.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._frames: multiprocessing.Queue[tuple[bytes, bytes]] = context.Queue(maxsize=64)
        self._painter = context.Process(
            target=_render_forever, args=(self._frames, size), daemon=True
        )
        self._painter.start()
        self._size = size
        self._images = np.empty((_POOL, *size, 3), np.uint8)
        self._labels = np.empty((_POOL, *size), np.uint8)
        self._rng = np.random.default_rng(0)
        self.received = 0

    def close(self) -> None:
        """End the rendering process."""
        self._painter.terminate()
        self._painter.join()

    def fill(self, at_least: int = 0) -> None:
        """Take what has arrived; wait until `at_least` frames have."""
        while True:
            try:
                image, label = self._frames.get(block=self.received < at_least, timeout=60)
            except queue.Empty:
                if self.received < at_least:
                    raise RuntimeError("no frame was rendered for a minute") from None
                return
            slot = self.received % _POOL
            self._images[slot] = np.frombuffer(image, np.uint8).reshape(*self._size, 3)
            self._labels[slot] = np.frombuffer(label, np.uint8).reshape(self._size)
            self.received += 1

    def batch(self, size: int, crop: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Draw frames, crop, mirror and vary their colours.

        Returns:
            Images (size, 3, *crop) float32 in 0..1 and classes (size, *crop) int64.
        """
        rng = self._rng
        picks = rng.integers(0, min(self.received, _POOL), size)
        images = np.empty((size, *crop, 3), np.float32)
        labels = np.empty((size, *crop), np.int64)
        for row, pick in enumerate(picks):
            y = int(rng.integers(0, self._size[0] - crop[0] + 1))
            x = int(rng.integers(0, self._size[1] - crop[1] + 1))
            step = -1 if rng.integers(2) else 1
            window = np.s_[y : y + crop[0], x : x + crop[1]]
            gain = rng.uniform(0.8, 1.2) * rng.uniform(0.94, 1.06, 3)
            image = self._images[pick][window][:, ::step].astype(np.float32) / 255
            images[row] = image * gain.astype(np.float32) + np.float32(rng.uniform(-0.06, 0.06))
            labels[row] = self._labels[pick][window][:, ::step]
        pixels = torch.from_numpy(np.clip(images, 0, 1, out=images)).permute(0, 3, 1, 2)
        return pixels, torch.from_numpy(labels)
