"""One score from many evaluators: adds up their newest states, robust to lost messages."""

from __future__ import annotations

import threading
from collections import Counter
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou.aggregation.frames import EarlyFrames, FrameStatistics
from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.aggregation.results import Result, Scoring
from deeplab_miou.aggregation.runs import Runs
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.metric.counts import Axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deeplab_miou.aggregation.frames import FrameSummary
    from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord
    from deeplab_miou.aggregation.results import Totals
    from deeplab_miou.aggregation.runs import HeardRun
    from deeplab_miou.tags.timeline import TagTimeline

_MAX_SOURCES = 256


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
        tags: by which frames are also scored apart; None for no tags.
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
        with self._lock:
            if self._runs.is_closed(state.key):
                return News.NONE
            run = self._runs.get(state.key)
            if run is not None:
                run.heard_s = now_s
                if state.order <= run.state.order:
                    return News.NONE
            replaces = self._runs.contradicts(state)
            bound = self._axes_are_bound and not (replaces and self._runs.sources == {state.source})
            self._check(state, run, self._axes if bound else None)
            if run is None:
                self._make_room(state)
            if replaces:
                self._runs.forget(state.source, but=state.key)
                self._clear_frames()
                if run is not None:
                    # Frames of it may have come already, and were taken for those of before.
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
                run.settle(now_s)
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
        with self._lock:
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

        Frames that came before it are counted anew if they are among the newest.

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
        """Wait for the frames that the states speak of: they come on another topic.

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
        return Result(totals, None) if frames is None else frames.result(totals, scoring)

    def window(self, now_s: float) -> Result:
        """Return the scores of the window."""
        totals, frames, scoring = self._read(now_s)
        return Result(totals, None) if frames is None else frames.window_result(totals, scoring)

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

    def _check(self, state: EvaluatorState, run: HeardRun | None, bound: Axes | None) -> None:
        """Count and raise what makes a state unusable where this is what is counted."""
        if bound is not None:
            for what, told, counted in zip(Axes._fields, state.axes, bound, strict=True):
                if told != counted:
                    raise self._refusal(
                        "class_names" if what == "classes" else "region_names",
                        f"state of {state.source!r} refused: its {what} are {_list(told)}, but "
                        f"those counted so far are {_list(counted)}; call reset to start over",
                    )
        else:
            try:
                self._scoring.check(len(state.class_names))
            except ConfigurationError as error:
                text = f"state of {state.source!r} refused: {error}"
                raise self._refusal("class_weights", text) from None
        if (
            run is not None
            and state.run.reset_count == run.state.run.reset_count
            and (
                state.axes != run.state.axes or state.run.counts.shrank_since(run.state.run.counts)
            )
        ):
            raise self._refusal(
                "inconsistent",
                f"state {state.sequence} of {state.source!r} refused: within a run its classes "
                "or regions changed or its counts shrank without a reset",
            )

    def _make_room(self, state: EvaluatorState) -> None:
        """Count and raise that there is no room for one more run."""
        if self._runs.is_full:
            raise self._refusal(
                "overflow",
                f"state of {state.source!r} refused: runs that are over count more than "
                f"{MAX_SUM} pixels or messages; call reset to start over",
            )
        sources = self._runs.sources
        is_new = state.source not in sources
        if is_new and len(sources) >= _MAX_SOURCES and not self._runs.give_up_idle():
            raise self._refusal(
                "too_many_sources",
                f"state of {state.source!r} refused: {_MAX_SOURCES} sources are the limit; "
                "call reset to start over",
            )

    def _refusal(self, kind: str, message: str) -> RefusedError:
        self._refused[kind] += 1
        return RefusedError(kind, message)

    def _begin(self, state: EvaluatorState, now_s: float) -> None:
        run = self._runs.begin(state, now_s)
        for frame in self._early.release(state.key):
            try:
                self._take_frame(run, frame)
            except RefusedError:
                continue  # counted; nobody is left to tell
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
        try:
            counts = frame.counted(self._axes)
        except RefusedError as error:
            raise self._refusal(error.kind, str(error)) from None
        self._follow_reset(run, frame.reset_count)
        if not run.tracker.add(frame.sequence):
            return False
        if frame.evaluated:
            try:
                self._frames.add(
                    counts, frame.stamp_ns, None, frame.source, offset_ns=frame.offset_ns
                )
            except RefusedError as error:
                raise self._refusal(error.kind, str(error)) from None
        return True


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")  # noqa: PLR2004
    return f"{len(names)} ({shown})"
