"""Images and labels as they arrive, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.accounting import Reason
    from deeplab_miou.evaluation.run_state import RunPosition
    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.metric.counts import Counts


@dataclass(frozen=True, slots=True)
class Arrival:
    """An image or label as it arrived.

    Attributes:
        stamp_ns: the header's stamp, nanoseconds.
        frame_id: the header's frame.
        image: the payload.
        arrival_s: when it arrived, seconds of the monotonic clock.
        reset_count: the run's resets when it arrived.
    """

    stamp_ns: int
    frame_id: str
    image: ImageMessage
    arrival_s: float
    reset_count: int


@dataclass(frozen=True)
class Timing:
    """Where a frame's time went, seconds; a batch's inference is shared equally by its frames."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    inference_s: float = 0.0
    counting_s: float = 0.0
    latency_s: float = 0.0


@dataclass(frozen=True)
class FrameOutcome:
    """The outcome of a pair, or of an image or label without a partner.

    Attributes:
        image: the image, if it is part of this outcome.
        label: the label, if it is part of this outcome.
        reason: why it was not evaluated; None if it was.
        explanation: one line for people; empty if evaluated.
        position: place in the run.
        counts: what was counted; None if not evaluated.
        prediction: predicted train ids, uint8 ``(h, w)``; None if not evaluated or nobody watches.
        confidence: of the prediction, uint8 ``(h, w)``, 255 for a probability of 1; None if it is
            not known or nobody watches.
        ground_truth: train ids that were scored, uint8 ``(h, w)``; None if not evaluated.
        depth: metres, float32 ``(h, w)``; None if there is none, or no region needs it.
        depth_problem: why its depth image cannot be used; empty if it can, or there is none.
        timing: where the time went.
    """

    image: Arrival | None
    label: Arrival | None
    reason: Reason | None
    explanation: str
    position: RunPosition
    counts: Counts | None = None
    prediction: NDArray[np.uint8] | None = None
    confidence: NDArray[np.uint8] | None = None
    ground_truth: NDArray[np.uint8] | None = None
    depth: NDArray[np.float32] | None = None
    depth_problem: str = ""
    timing: Timing = Timing()
