"""From images to counts on a GPU; only counts come back, and label maps if subscribed to.

Frames are copied to the device while it works, and what was started is waited for only when its
result is asked for. Large frames of a batch are run one after another, so that the next is copied
while one is computed; small ones are run together.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import torch

from deeplab_miou.accounting import Reason
from deeplab_miou.errors import FrameError
from deeplab_miou.metric.frame_scores import Scored
from deeplab_miou.model.gpu.captured import CapturedBackend
from deeplab_miou.model.gpu.jobs import Job, split_batch
from deeplab_miou.model.gpu.slots import Slot
from deeplab_miou.model.inference.devices import is_out_of_memory
from deeplab_miou.model.inference.host_scorer import run
from deeplab_miou.model.inference.normalise import Normalizer, as_stored
from deeplab_miou.model.logits.counting import count_in_bands, pick_method, to_matrix
from deeplab_miou.model.logits.outputs import to_confidences, to_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.metric.frame_scores import PendingScores
    from deeplab_miou.model.checkpoints.checkpoint import Checkpoint
    from deeplab_miou.model.gpu.accelerator import Accelerator
    from deeplab_miou.model.gpu.slots import Results
    from deeplab_miou.model.inference.backends import Backend

    Size = tuple[int, int]
    Ids = NDArray[np.uint8]

# Batches that are under way at a time: one is computed, one is being uploaded.
_SLOTS = 2
_NOWHERE = 255

_logger = logging.getLogger(__name__)


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
        keep_confidences: bool = False,
    ) -> PendingScores:
        """See `deeplab_miou.model.segmenter.Segmenter.score`."""
        sizes = [(ids.shape[0], ids.shape[1]) for ids in ground_truths]
        return self._begin(
            images,
            ground_truths,
            sizes,
            ignore_index,
            keep_predictions=keep_predictions,
            keep_confidences=keep_confidences,
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
        keep_confidences: bool = False,
    ) -> _ScoresOnDevice:
        """Start a batch, split into jobs; without ground truth, for the labels alone."""
        stored = [as_stored(image) for image in images]
        batch = Job(stored, ground_truths, (0, 0), ignore_index, keep_predictions, keep_confidences)
        with torch.inference_mode():
            started = [part for job in split_batch(batch, sizes) for part in self._start(job)]
        return _ScoresOnDevice(started, self._checkpoint.num_classes, ignore_index)

    def _start(self, job: Job) -> list[Results]:
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

    def _launch(self, job: Job) -> Results:
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
        size = (batch.shape[2], batch.shape[3])
        tables = to_tables(
            logits,
            size,
            truths,
            self._architecture,
            num_classes=self._checkpoint.num_classes,
            ignore_index=job.ignore_index,
            method=self._method,
            labels=labels,
        )
        # Whether a frame has NaN: a flag that is downloaded with the result, without waiting.
        spoiled = logits.isnan().flatten(1).any(1)
        maps = [] if labels is None else [labels]
        if labels is not None and job.keep_confidences:
            kind = self._checkpoint.output
            maps.append(to_confidences(logits, size, labels, self._architecture, kind))
        results = slot.download([tables, *maps, spoiled.byte()])
        self._slots.append(self._slots.pop(0))
        return results

    def _make_room(self) -> bool:
        """Free what can be spared; return whether there was anything."""
        spared = False
        for slot in self._slots:
            spared |= slot.busy
            slot.finish()
        if isinstance(self.backend, CapturedBackend) and self.backend.has_captures:
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


class _ScoresOnDevice:
    """Scores on their way from a device.

    Args:
        results: of the jobs, in their order: tables, labels and confidences where they are kept,
            and whether a frame's logits are NaN.
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
            tables, *maps, spoiled = results.take()
            if spoiled.any():
                raise FrameError(
                    Reason.INFERENCE_FAILED, "the network's output is not finite (NaN)"
                )
            for frame, table in enumerate(tables):
                matrix = to_matrix(table, self._num_classes, self._ignore_index)
                prediction, confidence, *_ = *(each[frame] for each in maps), None, None
                scored.append(Scored(matrix, prediction, confidence=confidence))
        return scored
