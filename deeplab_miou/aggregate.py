"""One score from many evaluators: newest states added up, whatever becomes of messages."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.evaluator_messages import RefusedError
from deeplab_miou.metric.accumulator import Accumulator
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.results import Result, Scoring, Totals, score
from deeplab_miou.sequences import SequenceTracker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.evaluator_messages import EvaluatorState, FrameRecord

_Key = tuple[str, str]  # source, run_id

_MAX_SOURCES = 256
_MAX_FINISHED_RUNS = 64
_MAX_FOLDED_IDS = 4096
_MAX_EARLY_FRAMES = 256
# A state may overtake the frames that it speaks of: they come on another topic.
_OVERTAKING_S = 1.0


@dataclass(eq=False)
class _Run:
    """What is known of one run of one evaluator."""

    state: EvaluatorState
    heard_s: float
    base: EvaluatorState | None = None
    frames_reset_count: int = 0
    tracker: SequenceTracker = field(default_factory=SequenceTracker)
    announced: tuple[float, int] | None = None

    def settle(self, now_s: float) -> None:
        """Believe in the frames that a state spoke of a while ago."""
        if self.announced is not None and now_s - self.announced[0] >= _OVERTAKING_S:
            self.tracker.announce(self.announced[1])
            self.announced = None
        if self.announced is None:
            self.announced = (now_s, self.state.frame_sequence)


class Aggregate:
    """Adds up evaluators; thread-safe.

    Of each (source, run_id) the state with the greatest (reset_count, sequence) counts, so that
    messages that are lost, repeated, late or out of order change nothing. Window and intervals
    are fed from the frames' outcomes. A source that comes back with another configuration (another
    checkpoint, say) replaces its earlier runs. Memory is bounded: of the finished runs of
    evaluators that restarted, the oldest are folded into one sum.

    Args:
        window_frames: length of the window in frames; None for no limit by frames.
        window_seconds: length of the window in seconds of stamps; None for no limit by time.
        block_s: length of the bootstrap's blocks, seconds.
        scoring: how scores are computed.
    """

    def __init__(
        self,
        *,
        window_frames: int | None = None,
        window_seconds: float | None = None,
        block_s: float = 1.0,
        scoring: Scoring | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._window_frames = window_frames
        self._window_seconds = window_seconds
        self._block_s = block_s
        self._scoring = scoring or Scoring()
        self._runs: OrderedDict[_Key, _Run] = OrderedDict()  # least recently updated first
        self._folded_ids: OrderedDict[_Key, None] = OrderedDict()
        self._early: deque[FrameRecord] = deque(maxlen=_MAX_EARLY_FRAMES)
        self._refused: Counter[str] = Counter()
        self._superseded = 0
        self._names: tuple[str, ...] = ()
        self._names_are_bound = False
        self._folded: Totals | None = None
        self._folded_missing = 0
        self._window: Accumulator | None = None
        self._bootstrap: BlockBootstrap | None = None

    def add_state(self, state: EvaluatorState, now_s: float) -> bool:
        """Take a state.

        Args:
            state: the state as it arrived.
            now_s: seconds of a monotonic clock.

        Returns:
            True if it was newer than what was known.

        Raises:
            RefusedError: it contradicts what is known; counted, and nothing is changed.
        """
        key = (state.source, state.run_id)
        with self._lock:
            if key in self._folded_ids:
                return False
            run = self._runs.get(key)
            if run is not None:
                run.heard_s = now_s
                if state.order <= run.state.order:
                    return False
            if run is None:
                self._supersede(state)
            self._check_state(state, run)
            self._bind(state.class_names)
            if run is None:
                self._begin(key, state, now_s)
            else:
                run.state = state
                self._follow_reset(run, state.reset_count)
                run.settle(now_s)
                self._runs.move_to_end(key)
            self._fold()
            return True

    def add_frame(self, frame: FrameRecord) -> bool:
        """Take the outcome of a frame for window and intervals.

        Returns:
            True if it had not been taken before. A frame of a run whose state has not arrived is
            held until it does.

        Raises:
            RefusedError: its cells are malformed; counted, and nothing is changed.
        """
        key = (frame.source, frame.run_id)
        with self._lock:
            if key in self._folded_ids:
                return False
            run = self._runs.get(key)
            if run is None:
                self._early.append(frame)
                return False
            return self._take_frame(run, frame)

    def totals(self, now_s: float) -> Totals:
        """Return the sums at this instant; ``now_s`` as for `add_state`."""
        with self._lock:
            return self._sum(now_s)

    def result(self, now_s: float) -> Result:
        """Return the scores of all that was counted, with intervals."""
        with self._lock:
            totals, bootstrap, scoring = self._sum(now_s), self._bootstrap, self._scoring
        if bootstrap is None:
            return Result(totals, None)
        # Outside the lock: resampling takes a while.
        intervals = bootstrap.intervals(
            absent_classes=scoring.absent_classes, class_weights=scoring.weights
        )
        return Result(totals, score(totals.matrix, scoring), intervals)

    def window(self, now_s: float) -> Result:
        """Return the scores of the window."""
        with self._lock:
            totals, scoring = self._sum(now_s), self._scoring
            counted = None if self._window is None else self._window.snapshot()
        if counted is None:
            return Result(totals, None)
        matrix, frames = counted.window_matrix, counted.window_frames
        if matrix is None:  # no limit: all frames that were heard
            matrix, frames = counted.matrix, counted.frames
        recent = Totals(
            class_names=totals.class_names,
            matrix=matrix,
            frames=frames,
            missing_frames=totals.missing_frames,
            stamp_ns=totals.stamp_ns if counted.window_end_ns is None else counted.window_end_ns,
            sources=totals.sources,
        )
        return Result(recent, score(recent.matrix, scoring), start_ns=counted.window_start_ns)

    @property
    def refused(self) -> Mapping[str, int]:
        """Messages refused since the beginning, by kind."""
        with self._lock:
            return dict(self._refused)

    @property
    def superseded(self) -> int:
        """Runs forgotten because their source came back with another configuration."""
        with self._lock:
            return self._superseded

    def count_refused(self, kind: str) -> None:
        """Count a message that was refused before it got here."""
        with self._lock:
            self._refused[kind] += 1

    def ages(self, now_s: float) -> dict[str, float]:
        """Return seconds since each source was last heard."""
        with self._lock:
            ages: dict[str, float] = {}
            for (source, _), run in self._runs.items():
                age = now_s - run.heard_s
                ages[source] = min(age, ages.get(source, age))
            return ages

    def provenance(self) -> dict[str, str]:
        """Return the provenance text of each source's newest run."""
        with self._lock:
            return {source: run.state.provenance for (source, _), run in self._runs.items()}

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
            if self._names:
                scoring.check(len(self._names))
            self._scoring = scoring

    def reset(self) -> None:
        """Start from zero: of the states that arrive later only what is new counts.

        The class names may be others from then on.
        """
        with self._lock:
            for key in self._finished():
                self._remember(key)
                del self._runs[key]
            for run in self._runs.values():
                run.base = run.state
                run.tracker = SequenceTracker()
                run.tracker.announce(run.state.frame_sequence)
                run.announced = None
            self._folded = None
            self._folded_missing = 0
            self._names_are_bound = False
            self._early.clear()
            self._clear_frames()

    def _supersede(self, state: EvaluatorState) -> None:
        """Forget the runs of a source that now runs something else: they measured that."""
        past = [
            key
            for key, run in self._runs.items()
            if key[0] == state.source and run.state.configuration != state.configuration
        ]
        if not past:
            return
        for key in past:
            self._remember(key)
            del self._runs[key]
        self._superseded += len(past)
        self._clear_frames()
        if not self._runs and self._folded is None:
            self._names_are_bound = False

    def _check_state(self, state: EvaluatorState, run: _Run | None) -> None:
        """Count and raise what makes a state unusable."""
        bound = self._names if self._names_are_bound else ()
        if bound and state.class_names != bound:
            raise self._refusal(
                "class_names",
                f"state of {state.source!r} refused: its classes are {_list(state.class_names)}, "
                f"but those counted so far are {_list(bound)}; call reset to start over",
            )
        if not bound:
            try:
                self._scoring.check(len(state.class_names))
            except ConfigurationError as error:
                text = f"state of {state.source!r} refused: {error}"
                raise self._refusal("class_weights", text) from None
        if run is None:
            sources = {source for source, _ in self._runs}
            if state.source not in sources and len(sources) >= _MAX_SOURCES:
                raise self._refusal(
                    "too_many_sources",
                    f"state of {state.source!r} refused: {_MAX_SOURCES} sources are the limit",
                )
        elif state.reset_count == run.state.reset_count and (
            state.class_names != run.state.class_names or state.shrank_since(run.state)
        ):
            raise self._refusal(
                "inconsistent",
                f"state {state.sequence} of {state.source!r} refused: within a run its classes "
                "changed or its counts shrank without a reset",
            )

    def _refusal(self, kind: str, message: str) -> RefusedError:
        self._refused[kind] += 1
        return RefusedError(kind, message)

    def _bind(self, names: tuple[str, ...]) -> None:
        """Count these classes from now on."""
        if self._names_are_bound:
            return
        if self._window is None or self._bootstrap is None or len(names) != len(self._names):
            n = len(names)
            self._window = Accumulator(
                n, window_frames=self._window_frames, window_seconds=self._window_seconds
            )
            self._bootstrap = BlockBootstrap(n, block_s=self._block_s)
        self._names = names
        self._names_are_bound = True

    def _begin(self, key: _Key, state: EvaluatorState, now_s: float) -> None:
        run = _Run(state, now_s, frames_reset_count=state.reset_count)
        self._runs[key] = run
        early = [frame for frame in self._early if (frame.source, frame.run_id) == key]
        for frame in early:
            self._early.remove(frame)
            try:
                self._take_frame(run, frame)
            except RefusedError:
                continue  # counted; nobody is left to tell
        run.tracker.announce(state.frame_sequence)

    def _follow_reset(self, run: _Run, reset_count: int) -> None:
        """Forget all frames when an evaluator forgot its own."""
        if reset_count > run.frames_reset_count:
            run.frames_reset_count = reset_count
            run.tracker = SequenceTracker()
            run.tracker.announce(0)
            run.announced = None
            self._clear_frames()

    def _clear_frames(self) -> None:
        if self._window is not None and self._bootstrap is not None:
            self._window.reset()
            self._bootstrap.reset()

    def _take_frame(self, run: _Run, frame: FrameRecord) -> bool:
        if frame.reset_count < run.frames_reset_count or self._window is None:
            return False
        if run.state.class_names != self._names:
            return False
        try:
            matrix = frame.matrix(len(self._names))
        except RefusedError as error:
            raise self._refusal(error.kind, str(error)) from None
        self._follow_reset(run, frame.reset_count)
        if not run.tracker.add(frame.sequence):
            return False
        if frame.evaluated and self._bootstrap is not None:
            self._window.update(matrix, frame.stamp_ns)
            self._bootstrap.update(matrix, frame.stamp_ns)
        return True

    def _sum(self, now_s: float) -> Totals:
        n = len(self._names)
        totals = self._folded or Totals(self._names, np.zeros((n, n + 1), np.int64))
        missing = self._folded_missing
        for run in self._runs.values():
            run.settle(now_s)
            missing += run.tracker.missing
            if run.state is not run.base:
                totals = totals.plus(run.state, run.base)
        sources = tuple(sorted({source for source, _ in self._runs}))
        return replace(totals, class_names=self._names, missing_frames=missing, sources=sources)

    def _finished(self) -> list[_Key]:
        """Return the runs that a later run of their source followed, oldest first."""
        newest = dict(self._runs.keys())
        return [key for key in self._runs if newest[key[0]] != key[1]]

    def _fold(self) -> None:
        """Keep only the sum of what restarted evaluators left long ago."""
        if len(self._runs) <= _MAX_FINISHED_RUNS:
            return
        finished = self._finished()
        for key in finished[: max(len(finished) - _MAX_FINISHED_RUNS, 0)]:
            run = self._runs.pop(key)
            self._remember(key)
            self._folded_missing += run.tracker.missing
            if run.state is not run.base:
                n = len(self._names)
                sums = self._folded or Totals(self._names, np.zeros((n, n + 1), np.int64))
                self._folded = sums.plus(run.state, run.base)

    def _remember(self, key: _Key) -> None:
        self._folded_ids[key] = None
        if len(self._folded_ids) > _MAX_FOLDED_IDS:
            self._folded_ids.popitem(last=False)


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")  # noqa: PLR2004
    return f"{len(names)} ({shown})"
