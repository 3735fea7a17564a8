"""Pair, segment, count: the one path that live nodes and offline evaluation share.

Any thread adds messages; one worker computes. What became of a message goes to ``on_outcome``, from
the thread that found out and with no lock held.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Literal

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.errors import FrameError
from deeplab_miou.evaluation.batches import Batch, BatchScorer
from deeplab_miou.evaluation.frame_counts import FrameCounter
from deeplab_miou.evaluation.frames import FrameDecoder
from deeplab_miou.evaluation.naming import Legends, UnnamedPairs
from deeplab_miou.evaluation.outcomes import Arrival, FrameOutcome, Timing
from deeplab_miou.evaluation.pairing import Pair, Pairer, PairingResult
from deeplab_miou.evaluation.queueing import WorkQueue
from deeplab_miou.evaluation.run_state import RunState
from deeplab_miou.images.messages import RawImage
from deeplab_miou.images.pixels import check_image
from deeplab_miou.images.raw_pixels import byte_count
from deeplab_miou.regions.regions import Regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from deeplab_miou.evaluation.depth_pairing import DepthPairer
    from deeplab_miou.evaluation.frames import Frame
    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.images.cdr import StampedImage
    from deeplab_miou.images.messages import ImageMessage
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.frame_scores import Scored

_NOTHING = RawImage(0, 0, "", is_bigendian=False, step=0, data=b"")


class ClockJump(str, Enum):
    """What to do when time goes back: keep counting, or start a new run."""

    CONTINUE = "continue"
    RESET = "reset"


class Pipeline:
    """Scores a stream of images and labels.

    Args:
        predictor: where predictions come from.
        label_map: what the labels mean.
        run: what is counted.
        pairer: pairs images and labels.
        queue: holds pairs until the worker takes them.
        depth: finds the depth images of pairs that are not added with theirs; None for none.
        batch_size: most pairs that the worker takes at once.
        regions: what is scored separately, and what is not scored; nothing by default.
        error_types: whether mistakes are sorted by their type.
        score_at: whose resolution is scored: the ``label``'s, or the ``prediction``'s (the image's,
            with a network), to which labels are then resized by nearest neighbour.
        on_clock_jump: what to do when time goes back.
        wants_predictions: whether somebody wants to see predictions; asked for each batch.
        wants_confidences: whether somebody wants to see how sure they are; likewise.
        on_outcome: called with the outcome of each frame.
        decoders: decode pairs while they wait in the queue, which then must not drop any; None to
            have the worker decode them.
        legends: the names of ids, if published while the stream runs: pairs wait for them, see
            `release_named`. Nothing by default.

    Attributes:
        queue: pairs that wait for the worker; callers that add messages can wait there until
            there is room.
        run: what has been counted.
    """

    def __init__(
        self,
        predictor: Predictor,
        label_map: LabelMap,
        *,
        run: RunState | None = None,
        pairer: Pairer[Arrival] | None = None,
        queue: WorkQueue[Pair[Arrival]] | None = None,
        depth: DepthPairer | None = None,
        batch_size: int = 1,
        regions: Regions | None = None,
        error_types: bool = False,
        score_at: Literal["label", "prediction"] = "label",
        on_clock_jump: ClockJump = ClockJump.CONTINUE,
        wants_predictions: Callable[[], bool] = lambda: True,
        wants_confidences: Callable[[], bool] = lambda: False,
        on_outcome: Callable[[FrameOutcome], None] = lambda _: None,
        decoders: Executor | None = None,
        legends: Legends | None = None,
    ) -> None:
        legends = Legends() if legends is None else legends
        regions = Regions() if regions is None else regions
        self._counter = FrameCounter(label_map, regions, error_types=error_types)
        self._decoder = FrameDecoder(
            predictor, label_map, regions, legends, score_at=score_at, executor=decoders
        )
        self._scorer = BatchScorer(
            predictor,
            wants_predictions=lambda: self._counter.needs_predictions or wants_predictions(),
            wants_confidences=wants_confidences,
        )
        self._underway: Batch | None = None
        self._pairer: Pairer[Arrival] = Pairer() if pairer is None else pairer
        self.queue: WorkQueue[Pair[Arrival]] = WorkQueue(8) if queue is None else queue
        self._unnamed = UnnamedPairs(legends, lambda: self.queue.room)
        self._depth = depth
        self._batch_size = batch_size
        self._on_clock_jump = on_clock_jump
        self._on_outcome = on_outcome
        self.run = RunState(label_map.num_classes) if run is None else run

    def add(self, stream: Stream, stamp_ns: int, frame_id: str, image: ImageMessage) -> None:
        """Add a message that arrived; any thread.

        Returns quickly: nothing is decoded here. Every message is counted.

        Args:
            stream: image or label.
            stamp_ns: its stamp, nanoseconds.
            frame_id: its frame.
            image: its payload, kept and not copied.
        """
        arrival_s = time.monotonic()
        observed = self._pairer.observe(stream, stamp_ns)
        if observed.jumped:
            # At once, because what the other stream receives from here on is of the new run.
            self._time_went_back()
        self._carry_out(observed)
        arrival = Arrival(stamp_ns, frame_id, image, arrival_s, self.run.received(stream))
        try:
            check_image(image)
        except FrameError as error:
            self._drop(stream, arrival, error.reason, str(error))
            return
        size = byte_count(image.data) + len(frame_id)
        self._carry_out(self._pairer.add(stream, stamp_ns, arrival, size))

    def add_depth(self, stamp_ns: int, frame_id: str, image: ImageMessage | None) -> None:
        """Add a depth image that arrived; any thread, quickly.

        Args:
            stamp_ns: its stamp, nanoseconds.
            frame_id: its frame.
            image: its payload, kept and not copied; None if it is not readable.
        """
        arrival_s = time.monotonic()
        reset_count = self.run.depth_received()
        arrival = Arrival(stamp_ns, frame_id, image or _NOTHING, arrival_s, reset_count)
        if self._depth is not None:
            self._await_names(self._depth.add_depth(arrival))

    def give_up_depth(self, wait_s: float) -> None:
        """Score pairs that have waited this long for their depth image without it, seconds."""
        if self._depth is not None:
            self._await_names(self._depth.expire(time.monotonic() - wait_s))

    def add_pair(
        self, image: StampedImage, label: StampedImage, depth: StampedImage | None = None
    ) -> None:
        """Add an image and its label that are known to belong together, and to be valid.

        Args:
            image: the image.
            label: its label.
            depth: its depth image, which need not be valid; None for none.
        """
        arrival_s = time.monotonic()
        arrived_image, arrived_label = (
            Arrival(each.stamp_ns, each.frame_id, each.image, arrival_s, self.run.received(stream))
            for stream, each in ((Stream.IMAGE, image), (Stream.LABEL, label))
        )
        arrived_depth = None
        if depth is not None:
            arrived_depth = Arrival(*depth, arrival_s, self.run.depth_received())
        self._carry_out(PairingResult(pairs=[Pair(arrived_image, arrived_label, arrived_depth)]))

    def reject(self, stream: Stream, stamp_ns: int, frame_id: str, error: FrameError) -> None:
        """Count a message that cannot be paired: unreadable, or known to be without a partner."""
        reset_count = self.run.received(stream)
        arrival = Arrival(stamp_ns, frame_id, _NOTHING, time.monotonic(), reset_count)
        self._drop(stream, arrival, error.reason, str(error))

    def work(self, timeout_s: float) -> int:
        """Take the pairs that wait, at most a batch, and score them; one worker thread.

        A batch that a device works on is left to it while more pairs wait, and is finished by the
        next call, which prepares the next batch meanwhile.

        Args:
            timeout_s: how long to wait for the first pair, seconds.

        Returns:
            How many pairs were taken.

        Raises:
            Exception: a programming error or a dead device. What was taken is counted as failed.
        """
        earlier, self._underway = self._underway, None
        # As many as have found no room before.
        self.release_named()
        pairs = self.queue.take(self._batch_size, 0.0 if earlier else timeout_s)
        if not pairs and earlier is None:
            return 0
        batch = Batch(dict(enumerate(pairs)))
        try:
            self._start(batch)
            if earlier is not None:
                self._finish(earlier)
            if batch.scores.done() or not len(self.queue):
                self._finish(batch)
            else:
                self._underway = batch
        finally:
            for stranded in (earlier, batch):
                if stranded is not None and stranded is not self._underway:
                    self._abandon(stranded)
        return len(pairs)

    def finish(self) -> None:
        """Finish what `work` left to a device; no thread may still be working.

        Raises:
            Exception: as `work`.
        """
        batch, self._underway = self._underway, None
        if batch is not None:
            try:
                self._finish(batch)
            finally:
                self._abandon(batch)

    def release_named(self) -> None:
        """Score pairs that need not wait for names any longer; call it now and then too."""
        self._enqueue(self._unnamed.ready())

    def flush(self) -> None:
        """Count what waits for a partner as unmatched: nothing more is coming."""
        self._carry_out(self._pairer.flush())
        if self._depth is not None:
            self._await_names(self._depth.flush())
        self._unnamed.hurry()
        self.release_named()

    def clock_jumped(self, now_ns: int) -> None:
        """Take note that the clock jumped back to a time, nanoseconds."""
        self._pairer.clock_jumped(now_ns)

    def reset(self) -> None:
        """Start from zero, as if just made; what is waiting or being scored is not counted."""
        self._pairer.reset()
        if self._depth is not None:
            self._depth.reset()
        self._unnamed.clear()
        self.queue.clear()
        self.run.reset()

    @property
    def held(self) -> dict[Stream, int]:
        """Messages of each stream that wait for a partner."""
        return self._pairer.waiting()

    @property
    def held_bytes(self) -> int:
        """Payload that waits for a partner, bytes."""
        return self._pairer.held_bytes + (0 if self._depth is None else self._depth.held_bytes)

    @property
    def without_depth(self) -> int:
        """Pairs that wait for their depth image."""
        return 0 if self._depth is None else self._depth.waiting()

    def _time_went_back(self) -> None:
        if self._on_clock_jump is ClockJump.RESET:
            self._unnamed.clear()
            self.queue.clear()
            self.run.reset()

    def _carry_out(self, result: PairingResult[Arrival]) -> None:
        for drop in result.drops:
            self._drop(drop.stream, drop.item, drop.reason, drop.reason.explanation)
        for pair in result.pairs:
            if pair.image.reset_count != pair.label.reset_count:
                # A reset came between the two: the one from before it is counted nowhere.
                self._drop(
                    Stream.IMAGE,
                    pair.image,
                    Reason.UNMATCHED_IMAGE,
                    "its label was discarded by a reset",
                )
                self._drop(
                    Stream.LABEL,
                    pair.label,
                    Reason.UNMATCHED_LABEL,
                    "its image was discarded by a reset",
                )
                continue
            self._await_names([pair] if self._depth is None else self._depth.add_pair(pair))

    def _await_names(self, pairs: Iterable[Pair[Arrival]]) -> None:
        """Hand pairs on as soon as the names of their ids are there."""
        for pair in pairs:
            self._enqueue(self._unnamed.put(pair))

    def _enqueue(self, pairs: Iterable[Pair[Arrival]]) -> None:
        for pair in pairs:
            self._decoder.announce(pair)
            for crowded_out in self.queue.put(pair):
                full = Reason.QUEUE_FULL
                self._drop_pair(crowded_out, full, full.explanation)

    def _drop(self, stream: Stream, arrival: Arrival, reason: Reason, explanation: str) -> None:
        position = self.run.dropped(arrival.reset_count, (stream,), reason)
        if position is not None:
            image, label = (arrival, None) if stream is Stream.IMAGE else (None, arrival)
            self._on_outcome(FrameOutcome(image, label, reason, explanation, position))

    def _drop_pair(self, pair: Pair[Arrival], reason: Reason, explanation: str) -> None:
        streams = (Stream.IMAGE, Stream.LABEL)
        position = self.run.dropped(pair.image.reset_count, streams, reason)
        if position is not None:
            self._on_outcome(FrameOutcome(pair.image, pair.label, reason, explanation, position))

    def _start(self, batch: Batch) -> None:
        """Decode the pairs of a batch and start to score them."""
        for key, pair in list(batch.pending.items()):
            try:
                batch.frames[key] = self._decoder.decode(pair)
            except FrameError as error:
                self._drop_pair(batch.pending.pop(key), error.reason, str(error))
        self._scorer.start(batch)

    def _finish(self, batch: Batch) -> None:
        """Wait for the scores of a batch, taking each pair out of it as it is counted."""
        for key, score, inference_s in self._scorer.collect(batch):
            if isinstance(score, FrameError):
                self._drop_pair(batch.pending[key], score.reason, str(score))
            else:
                self._count(batch.frames[key], score, inference_s)
            del batch.pending[key]

    def _abandon(self, batch: Batch) -> None:
        """Account for what an error left of a batch; nothing is left without one."""
        for pair in batch.pending.values():
            self._drop_pair(pair, Reason.INFERENCE_FAILED, "the worker stopped with an error")

    def _count(self, frame: Frame, scored: Scored, inference_s: float) -> None:
        started_s = time.monotonic()
        image, label = frame.pair.image, frame.pair.label
        counts = self._counter.count(frame, scored)
        position = self.run.evaluated(image.reset_count, counts, image.stamp_ns)
        if position is None:
            return
        now_s = time.monotonic()
        paired_s = max(image.arrival_s, label.arrival_s)
        timing = Timing(
            queue_s=frame.started_s - paired_s,
            decode_s=frame.decode_s,
            inference_s=inference_s,
            counting_s=scored.counting_s + now_s - started_s,
            latency_s=now_s - paired_s,
        )
        self._on_outcome(
            FrameOutcome(
                image,
                label,
                None,
                "",
                position,
                counts=counts,
                prediction=scored.prediction,
                confidence=scored.confidence,
                ground_truth=frame.ground_truth,
                depth=frame.depth,
                depth_problem=frame.depth_problem,
                timing=timing,
            )
        )
