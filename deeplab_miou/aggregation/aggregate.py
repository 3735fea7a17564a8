"""One score from many evaluators: adds up their newest states, robust to lost messages."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager, suppress
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou.aggregation.admission import (
    check_axes,
    check_continues,
    check_weight_count,
    make_room,
)
from deeplab_miou.aggregation.frames import EarlyFrames, FrameStatistics
from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.aggregation.results import Result, Scoring
from deeplab_miou.aggregation.runs import Runs
from deeplab_miou.metric.counts import Axes
from deeplab_miou.metric.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deeplab_miou.aggregation.frames import FrameSummary
    from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord
    from deeplab_miou.aggregation.results import Totals
    from deeplab_miou.aggregation.runs import HeardRun
    from deeplab_miou.tags.timeline import TagTimeline


class News(IntEnum):
    """What is new in a state."""

    NONE = 0  # it is late or repeated
    NEWER = 1
    REPLACEMENT = 2  # its source has another configuration: what it had counted is discarded


class Aggregate:
    """Adds up evaluators; thread-safe.

    Of each (source, run_id) the state with the greatest (reset_count, sequence) counts, so that
    messages that are lost, repeated, late or out of order change nothing. Window and intervals
    are fed from the frames' outcomes. A source with another configuration than before (another
    checkpoint, say) replaces all that it counted, whether its process was restarted or configured
    anew. Memory is bounded.

    Args:
        window_frames: length of the window in frames; None for no limit by frames.
        window_seconds: length of the window in seconds of stamps; None for no limit by time.
        block_s: length of the bootstrap's blocks, seconds.
        scoring: how scores are computed.
        tags: frames are also scored separately by these; None for no tags.
        tags_are_complete: no tags will be added.
    """

    def __init__(
        self,
        *,
        window_frames: int | None = None,
        window_seconds: float | None = None,
        block_s: float = 1.0,
        scoring: Scoring | None = None,
        tags: TagTimeline | None = None,
        tags_are_complete: bool = False,
    ) -> None:
        self._lock = threading.Condition()
        self._scoring = scoring or Scoring()
        self._runs = Runs()
        self._make_frames: Callable[[Axes], FrameStatistics[None]] = partial(
            FrameStatistics,
            window_frames=window_frames,
            window_seconds=window_seconds,
            block_s=block_s,
            tags=tags,
            tags_are_complete=tags_are_complete,
        )
        self._tags = tags
        self._frames: FrameStatistics[None] | None = None
        self._early = EarlyFrames()
        self._refused: Counter[str] = Counter()
        self._axes = Axes()
        self._axes_are_bound = False

    def add_state(self, state: EvaluatorState, now_s: float) -> News:
        """Take a state.

        Args:
            state: the state as it arrived.
            now_s: seconds of a monotonic clock.

        Returns:
            Whether it was newer than what was known.

        Raises:
            RefusedError: it contradicts what is known; counted, and nothing is changed.
        """
        with self._lock, self._counting_refusals():
            if self._runs.is_closed(state.key):
                return News.NONE
            run = self._runs.get(state.key)
            if run is not None:
                run.heard_s = now_s
                if state.order <= run.state.order:
                    return News.NONE
            replaces = self._runs.contradicts(state)
            bound = self._axes_are_bound and not (replaces and self._runs.sources == {state.source})
            if bound:
                check_axes(state, self._axes)
            else:
                check_weight_count(state, self._scoring)
            if run is None:
                make_room(state, self._runs)
            else:
                check_continues(state, run)
            if replaces:
                self._runs.forget(state.source, but=state.key)
                self._clear_frames()
                if run is not None:
                    # Its frames may have arrived already, and counted as those of the run before.
                    run.forget_frames(0)
            if not bound:
                self._frames = self._make_frames(state.axes)
                self._axes = state.axes
                self._axes_are_bound = True
            if run is None:
                self._begin(state, now_s)
            else:
                self._runs.update(run, state)
                self._follow_reset(run, state.run.reset_count)
                run.announce_frames(now_s)
            self._runs.fold(self._axes)
            return News.REPLACEMENT if replaces else News.NEWER

    def add_frame(self, frame: FrameRecord) -> bool:
        """Take the outcome of a frame for window and intervals.

        Returns:
            True if it had not been taken before. A frame of a run whose state has not arrived is
            held until it does.

        Raises:
            RefusedError: its cells are malformed; counted, and nothing is changed.
        """
        with self._lock, self._counting_refusals():
            if self._runs.is_closed(frame.key):
                return False
            run = self._runs.get(frame.key)
            if run is None:
                self._early.hold(frame)
                return False
            is_news = self._take_frame(run, frame)
            self._lock.notify_all()
            return is_news

    def add_tag(self, key: str, name: str, stamp_ns: int) -> bool:
        """Let a tag be in force from a moment on; see `TagTimeline.add`.

        Frames that came before it are counted again if they are among the newest.

        Returns:
            Whether that changes anything.
        """
        with self._lock:
            if self._tags is None or not self._tags.add(key, name, stamp_ns):
                return False
            if self._frames is not None:
                self._frames.tag_changed(key, stamp_ns)
            return True

    def wait_for_frames(self, timeout_s: float) -> bool:
        """Wait for the frames that the states count: they come on another topic.

        Returns:
            Whether they have arrived.
        """
        with self._lock:
            return self._lock.wait_for(lambda: not self._runs.are_ahead_of_their_frames, timeout_s)

    def totals(self, now_s: float) -> Totals:
        """Return the sums at this instant; ``now_s`` as for `add_state`."""
        with self._lock:
            return self._runs.totals(self._axes, now_s)

    def result(self, now_s: float) -> Result:
        """Return the scores of all that was counted, with intervals."""
        totals, frames, scoring = self._read(now_s)
        # Outside the lock: resampling takes a while.
        return Result(totals, Scores.none()) if frames is None else frames.result(totals, scoring)

    def window(self, now_s: float) -> Result:
        """Return the scores of the window."""
        totals, frames, scoring = self._read(now_s)
        return (
            Result(totals, Scores.none())
            if frames is None
            else frames.window_result(totals, scoring)
        )

    @property
    def refused(self) -> Mapping[str, int]:
        """Messages refused since the beginning, by kind."""
        with self._lock:
            return dict(self._refused)

    @property
    def tag_doubts(self) -> tuple[str, ...]:
        """What makes it doubtful which frames have which tag, a line each."""
        with self._lock:
            return () if self._frames is None else self._frames.tag_doubts

    def count_refused(self, kind: str) -> None:
        """Count a message that was refused before it got here."""
        with self._lock:
            self._refused[kind] += 1

    def ages(self, now_s: float) -> dict[str, float]:
        """Return seconds since each source was last heard."""
        with self._lock:
            return self._runs.ages(now_s)

    def provenance(self) -> dict[str, str]:
        """Return the provenance text of each source's newest run."""
        with self._lock:
            return self._runs.provenance()

    @property
    def scoring(self) -> Scoring:
        """How scores are computed now."""
        return self._scoring

    def set_scoring(self, scoring: Scoring) -> None:
        """Compute scores differently from now on.

        Raises:
            ConfigurationError: the weights are not as many as the classes.
        """
        with self._lock:
            if self._axes.classes:
                scoring.check(len(self._axes.classes))
            self._scoring = scoring

    def reset(self) -> None:
        """Start from zero: of the states that arrive later only what is new counts.

        Classes and regions may be others from then on.
        """
        with self._lock:
            self._runs.reset()
            self._axes_are_bound = False
            self._early.clear()
            self._clear_frames()

    def _read(self, now_s: float) -> tuple[Totals, FrameSummary[None] | None, Scoring]:
        with self._lock:
            totals = self._runs.totals(self._axes, now_s)
            frames = None if self._frames is None else self._frames.read()
            return totals, frames, self._scoring

    def _clear_frames(self) -> None:
        if self._frames is not None:
            self._frames.clear()

    @contextmanager
    def _counting_refusals(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            self._refused[error.kind] += 1
            raise

    def _begin(self, state: EvaluatorState, now_s: float) -> None:
        run = self._runs.begin(state, now_s)
        for frame in self._early.release(state.key):
            # Nobody is left to tell.
            with suppress(RefusedError), self._counting_refusals():
                self._take_frame(run, frame)
        run.tracker.announce(state.run.frame_sequence)

    def _follow_reset(self, run: HeardRun, reset_count: int) -> None:
        """Forget all frames when an evaluator forgot its own."""
        if reset_count > run.frames_reset_count:
            run.frames_reset_count = reset_count
            run.forget_frames(0)
            self._clear_frames()

    def _take_frame(self, run: HeardRun, frame: FrameRecord) -> bool:
        if self._frames is None or run.state.axes != self._axes:
            return False
        if frame.reset_count < run.frames_reset_count:
            return False
        counts = frame.counted(self._axes)
        self._follow_reset(run, frame.reset_count)
        if not run.tracker.add(frame.sequence):
            return False
        if frame.evaluated:
            self._frames.add(counts, frame.stamp_ns, None, frame.source, offset_ns=frame.offset_ns)
        return True
