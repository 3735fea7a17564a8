"""From images to counts on a GPU; only counts come back, and label maps if subscribed to.

Frames are copied to the device while it works, and what was started is waited for only when its
result is asked for. Large frames of a batch are run one after another, so that the next is copied
while one is computed; small ones are run together.
"""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.metric.frame_scores import Scored
from deeplab_miou.model.gpu.recorded import RecordedBackend
from deeplab_miou.model.gpu.slots import Slot
from deeplab_miou.model.inference.devices import is_out_of_memory
from deeplab_miou.model.inference.host_scorer import run
from deeplab_miou.model.inference.normalise import Normalizer, Stored, as_stored
from deeplab_miou.model.logits.counting import count_in_bands, pick_method, to_matrix
from deeplab_miou.model.logits.outputs import to_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.metric.frame_scores import PendingScores
    from deeplab_miou.model.checkpoints.checkpoint import Checkpoint
    from deeplab_miou.model.gpu.accelerator import Accelerator
    from deeplab_miou.model.gpu.slots import Results
    from deeplab_miou.model.inference.backends import Backend

    Size = tuple[int, int]
    Ids = NDArray[np.uint8]

# Pixels of input that keep a GPU busy: more frames at a time would gain nothing.
_PLENTY = 1 << 21
# Batches that are under way at a time: one is computed, one is on its way.
_SLOTS = 2
_NOWHERE = 255

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """Frames of one size, to be run together.

    Attributes:
        images: as they lie in memory.
        ground_truths: of one size; None where only labels are wanted.
        size: (height, width) of the labels.
        ignore_index: ground truth id that counts nowhere.
        keep_predictions: whether labels are wanted.
    """

    images: Sequence[Stored]
    ground_truths: Sequence[Ids] | None
    size: Size
    ignore_index: int
    keep_predictions: bool

    @property
    def image_size(self) -> Size:
        """(height, width) of the images."""
        height, width, _ = self.images[0].pixels.shape
        return height, width

    def part(self, start: int, stop: int) -> _Job:
        """Return the same of fewer frames."""
        truths = self.ground_truths
        return replace(
            self,
            images=self.images[start:stop],
            ground_truths=None if truths is None else truths[start:stop],
        )


class DeviceScorer:
    """Runs a backend on a GPU and counts there.

    Args:
        backend: computes coarse logits on the accelerator's device.
        checkpoint: whose network that is.
        accelerator: the device.

    Attributes:
        backend: as given; may be replaced between calls.
    """

    def __init__(self, backend: Backend, checkpoint: Checkpoint, accelerator: Accelerator) -> None:
        self.backend = backend
        self._accelerator = accelerator
        self._checkpoint = checkpoint
        self._architecture = getattr(checkpoint.network, "architecture", None)
        self._normalize = Normalizer(checkpoint.preprocessing, accelerator.device)
        self._method = pick_method(accelerator.device, checkpoint.num_classes)
        self._slots = [Slot(accelerator) for _ in range(_SLOTS)]
        self._fitted: Size | None = None

    def predict(self, images: Sequence[Ids], sizes: Sequence[Size]) -> list[Ids]:
        """See `deeplab_miou.model.segmenter.Segmenter.predict`."""
        scored = self._begin(images, None, sizes, _NOWHERE, keep_predictions=True).result()
        return [score.prediction for score in scored if score.prediction is not None]

    def score(
        self,
        images: Sequence[Ids],
        ground_truths: Sequence[Ids],
        ignore_index: int,
        *,
        keep_predictions: bool,
    ) -> PendingScores:
        """See `deeplab_miou.model.segmenter.Segmenter.score`."""
        sizes = [(ids.shape[0], ids.shape[1]) for ids in ground_truths]
        return self._begin(
            images, ground_truths, sizes, ignore_index, keep_predictions=keep_predictions
        )

    def check_counting(self, image: Ids, size: Size) -> None:
        """Count once with and without labels; do it in another way where the fast one fails."""
        truth = torch.full(size, _NOWHERE, dtype=torch.uint8).numpy()
        try:
            for keep in (True, False):
                self.score([image], [truth], _NOWHERE, keep_predictions=keep).result()
        except FrameError:
            raise
        except Exception as error:
            if self._method is count_in_bands:
                raise
            # Compilers and drivers fail in ways of their own.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            _logger.warning("counting without Triton's kernel: %s", reason)
            self._method = count_in_bands
            self.check_counting(image, size)

    def close(self) -> None:
        """Wait for work in progress; its result is discarded."""
        for slot in self._slots:
            slot.finish()

    def _begin(
        self,
        images: Sequence[Ids],
        ground_truths: Sequence[Ids] | None,
        sizes: Sequence[Size],
        ignore_index: int,
        *,
        keep_predictions: bool,
    ) -> _ScoresOnDevice:
        """Start a batch, split into jobs; without ground truth, for the labels alone."""
        stored = [as_stored(image) for image in images]
        batch = _Job(stored, ground_truths, (0, 0), ignore_index, keep_predictions)
        with torch.inference_mode():
            started = [part for job in _split(batch, sizes) for part in self._start(job)]
        return _ScoresOnDevice(started, self._checkpoint.num_classes, ignore_index)

    def _start(self, job: _Job) -> list[Results]:
        """Start a job; where memory does not suffice, by halves.

        Raises:
            FrameError: a frame alone does not fit, or the network fails on it.
        """
        try:
            results = self._launch(job)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._fitted = max(self._fitted or job.image_size, job.image_size, key=math.prod)
            return [results]
        # Only out here is what the attempt had allocated free again.
        if self._make_room():
            return self._start(job)
        half = len(job.images) // 2
        if not half:
            raise FrameError(Reason.INFERENCE_FAILED, self._does_not_fit(job.image_size))
        return self._start(job.part(0, half)) + self._start(job.part(half, len(job.images)))

    def _launch(self, job: _Job) -> Results:
        """Queue all that a job takes; nothing is waited for but a free slot."""
        device = self._accelerator.device
        slot = self._slots[0]
        pixels = [image.pixels for image in job.images]
        if job.ground_truths is None:
            (frames,) = slot.upload([pixels])
            shape = (len(pixels), *job.size)
            truths = torch.full(shape, job.ignore_index, dtype=torch.uint8, device=device)
        else:
            frames, truths = slot.upload([pixels, job.ground_truths])
        batch = self._normalize(frames, is_bgr=job.images[0].is_bgr, dtype=self.backend.dtype)
        # ONNX files run on the CPU whatever the device.
        logits = run(self.backend, batch).to(device)
        labels = torch.empty_like(truths) if job.keep_predictions else None
        tables = to_tables(
            logits,
            (batch.shape[2], batch.shape[3]),
            truths,
            self._architecture,
            num_classes=self._checkpoint.num_classes,
            ignore_index=job.ignore_index,
            method=self._method,
            labels=labels,
        )
        # Whether each frame has numbers: a flag that is looked at with the result, without waiting.
        spoiled = logits.isnan().flatten(1).any(1)
        results = slot.download([tables, *([] if labels is None else [labels]), spoiled.byte()])
        self._slots.append(self._slots.pop(0))
        return results

    def _make_room(self) -> bool:
        """Free what can be spared; return whether there was anything."""
        spared = False
        for slot in self._slots:
            spared |= slot.busy
            slot.finish()
        if isinstance(self.backend, RecordedBackend) and self.backend.recorded:
            self.backend.stop("the device is out of memory")
            spared = True
        self._accelerator.release()
        return spared

    def _does_not_fit(self, size: Size) -> str:
        """Return a line that says so of an image's size."""
        fits = (
            "none has fit so far"
            if self._fitted is None
            else f"the largest that did fit is {self._fitted[1]}x{self._fitted[0]}"
        )
        return (
            f"an image of {size[1]}x{size[0]} pixels does not fit into the memory of "
            f"{self._accelerator.device}; {fits}: set a smaller input size"
        )


def _split(batch: _Job, sizes: Sequence[Size]) -> Iterator[_Job]:
    """Split a batch into what is run together: neighbours of one kind, by powers of two.

    These are few different shapes, each of which takes a recording of its own.

    Args:
        batch: images of any sizes.
        sizes: (height, width) of the labels, one an image.
    """
    kinds = [
        (each.pixels.shape, each.is_bgr, size)
        for each, size in zip(batch.images, sizes, strict=True)
    ]
    start = 0
    for (shape, _, size), group in itertools.groupby(kinds):
        stop = start + len(list(group))
        most = max(_PLENTY // (shape[0] * shape[1]), 1)
        while start < stop:
            count = 1 << (min(stop - start, most).bit_length() - 1)
            yield replace(batch.part(start, start + count), size=size)
            start += count


class _ScoresOnDevice:
    """Scores on their way from a device.

    Args:
        results: of the jobs, in their order: tables, and labels where they are kept.
        num_classes: n.
        ignore_index: ground truth id that counts nowhere.
    """

    def __init__(self, results: Sequence[Results], num_classes: int, ignore_index: int) -> None:
        self._results = results
        self._num_classes = num_classes
        self._ignore_index = ignore_index

    def done(self) -> bool:
        """Return whether `result` would not wait."""
        return all(results.done() for results in self._results)

    def result(self) -> list[Scored]:
        """Wait for the device, and return a score for each frame.

        Raises:
            ValueError: ground truth had ids that are neither below n nor the ignore index.
            FrameError: a frame's logits are NaN.
        """
        scored = []
        for results in self._results:
            tables, *labels, spoiled = results.take()
            if spoiled.any():
                raise FrameError(
                    Reason.INFERENCE_FAILED, "the network's output is not finite (NaN)"
                )
            predictions = labels[0] if labels else [None] * len(tables)
            for table, prediction in zip(tables, predictions, strict=True):
                matrix = to_matrix(table, self._num_classes, self._ignore_index)
                scored.append(Scored(matrix, prediction))
        return scored
