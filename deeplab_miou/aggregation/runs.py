"""The runs of all evaluators: the newest state of each, and the sum of finished ones."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deeplab_miou.aggregation.messages import MAX_SUM
from deeplab_miou.aggregation.results import Totals
from deeplab_miou.aggregation.sequences import SequenceTracker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deeplab_miou.aggregation.messages import EvaluatorState, RunKey
    from deeplab_miou.metric.counts import Axes

_MAX_FINISHED_RUNS = 64
_MAX_CLOSED_RUNS = 4096
_MAX_GIVEN_UP_RUNS = 4096
# A state may overtake the frames that it counts: they come on another topic.
_OVERTAKING_S = 1.0
# A run may end with a state that arrives after the first of the next, but it does not come back.
_MOST_RETURNS = 1


@dataclass(eq=False)
class HeardRun:
    """What is known of one run of one evaluator.

    Attributes:
        state: its newest state.
        heard_s: when it was last heard, seconds of a monotonic clock.
        frames_reset_count: resets of the run before the frames in `tracker`.
        base: the state that counting begins after; None to count all.
        tracker: which outcomes of frames have arrived.
        returns: how often it went on after another run of its source.
    """

    state: EvaluatorState
    heard_s: float
    frames_reset_count: int
    base: EvaluatorState | None = None
    tracker: SequenceTracker = field(default_factory=SequenceTracker)
    returns: int = 0
    _announced: tuple[float, int] | None = None

    def announce_frames(self, now_s: float) -> None:
        """Expect the frames that a state counted a while ago."""
        if self._announced is not None and now_s - self._announced[0] >= _OVERTAKING_S:
            self.tracker.announce(self._announced[1])
            self._announced = None
        if self._announced is None:
            self._announced = (now_s, self.state.run.frame_sequence)

    def forget_frames(self, frame_sequence: int) -> None:
        """Expect only the frames after this one."""
        self.tracker = SequenceTracker()
        self.tracker.announce(frame_sequence)
        self._announced = None

    @property
    def is_ahead_of_its_frames(self) -> bool:
        """Whether its state counts a frame that has not arrived yet, but may still do so."""
        return self.state.run.frame_sequence > self.tracker.last

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been counted, at least since its base."""
        return self.state is self.base or not (
            self.state.run.counts.frames or self.state.run.counts.matrix.any()
        )

    def counted(self, axes: Axes) -> Totals:
        """Return what the run has counted since its base, of these classes and regions."""
        if self.state is self.base:
            totals = Totals.zero(axes)
        else:
            base = None if self.base is None else self.base.run
            totals = Totals.of(axes, self.state.run, base)
        source = (self.state.source,)
        return replace(
            totals,
            missing_frames=self.tracker.missing,
            sources=source,
            namesakes=source if self.returns > _MOST_RETURNS else (),
        )


class Runs:
    """The runs of all evaluators in bounded memory; not thread-safe.

    All runs of a source have the same configuration: one with another makes the caller `forget`
    those before. Of the finished runs of evaluators that restarted the oldest are folded into one
    sum for each source. A run that was folded or forgotten is closed: whatever of it arrives late
    is no news.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[RunKey, HeardRun] = OrderedDict()  # least recently updated first
        self._folded: dict[str, Totals] = {}
        self._closed: OrderedDict[RunKey, None] = OrderedDict()
        self._given_up: OrderedDict[RunKey, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, key: RunKey) -> HeardRun | None:
        """Return a run; None if it has not begun or is closed."""
        return self._runs.get(key)

    def is_closed(self, key: RunKey) -> bool:
        """Return whether a run is over for good."""
        return key in self._closed

    @property
    def sources(self) -> set[str]:
        """The evaluators."""
        return {source for source, _ in self._runs}

    def contradicts(self, state: EvaluatorState) -> bool:
        """Return whether the state's source was counting with another configuration."""
        return any(
            run.state.configuration != state.configuration
            for (source, _), run in self._runs.items()
            if source == state.source
        )

    def begin(self, state: EvaluatorState, now_s: float) -> HeardRun:
        """Add a run with its first state."""
        run = self._runs[state.key] = HeardRun(state, now_s, state.run.reset_count)
        if state.key in self._given_up:
            # What it counted before a reset must not come back.
            del self._given_up[state.key]
            run.base = state
        return run

    def give_up_idle(self) -> bool:
        """Forget the source that has been silent longest, of those that have counted nothing.

        Returns:
            Whether there was one. It may come back, and what is new then counts.
        """
        heard: dict[str, float] = {}
        for (source, _), run in self._runs.items():
            heard[source] = max(run.heard_s, heard.get(source, run.heard_s))
        for (source, _), run in self._runs.items():
            if not run.is_idle:
                heard.pop(source, None)
        for source in self._folded:
            heard.pop(source, None)
        if not heard:
            return False
        silent = min(heard, key=lambda source: heard[source])
        for key in [key for key in self._runs if key[0] == silent]:
            del self._runs[key]
            self._given_up[key] = None
            if len(self._given_up) > _MAX_GIVEN_UP_RUNS:
                self._given_up.popitem(last=False)
        return True

    @property
    def is_full(self) -> bool:
        """Whether one more run could make a sum too large in the end."""
        return sum(totals.most for totals in self._folded.values()) > MAX_SUM

    def update(self, run: HeardRun, state: EvaluatorState) -> None:
        """Take a newer state of a run."""
        run.returns += self._newest()[state.source] != state.key[1]
        run.state = state
        self._runs.move_to_end(state.key)

    def fold(self, axes: Axes) -> None:
        """Keep only the sums of what restarted evaluators left long ago."""
        if len(self._runs) <= _MAX_FINISHED_RUNS:
            return
        finished = self._finished()
        for key in finished[: max(len(finished) - _MAX_FINISHED_RUNS, 0)]:
            counted = self._runs[key].counted(axes)
            earlier = self._folded.get(key[0])
            self._folded[key[0]] = counted if earlier is None else earlier + counted
            self._close([key])

    def forget(self, source: str, *, but: RunKey) -> None:
        """Forget all that a source has counted, except in one run."""
        self._folded.pop(source, None)
        self._close([key for key in self._runs if key[0] == source and key != but])

    def reset(self) -> None:
        """Begin to count after the newest states; runs that were followed by others are closed."""
        self._close(self._finished())
        self._folded.clear()
        for run in self._runs.values():
            run.base = run.state
            run.returns = 0
            run.forget_frames(run.state.run.frame_sequence)

    def totals(self, axes: Axes, now_s: float) -> Totals:
        """Return the sums over all runs, of these classes and regions."""
        totals = Totals.zero(axes)
        for folded in self._folded.values():
            totals += folded
        for run in self._runs.values():
            run.announce_frames(now_s)
            totals += run.counted(axes)
        return totals

    @property
    def are_ahead_of_their_frames(self) -> bool:
        """Whether a run's state counts a frame that has not arrived."""
        return any(run.is_ahead_of_its_frames for run in self._runs.values())

    def ages(self, now_s: float) -> dict[str, float]:
        """Return seconds since each source was last heard."""
        ages: dict[str, float] = {}
        for (source, _), run in self._runs.items():
            age = now_s - run.heard_s
            ages[source] = min(age, ages.get(source, age))
        return ages

    def provenance(self) -> dict[str, str]:
        """Return the provenance text of each source's newest run."""
        return {source: run.state.provenance for (source, _), run in self._runs.items()}

    def _finished(self) -> list[RunKey]:
        """Return the runs that a later run of their source followed, oldest first."""
        newest = self._newest()
        return [key for key in self._runs if newest[key[0]] != key[1]]

    def _newest(self) -> dict[str, str]:
        """Return the run of each source that was updated last."""
        return dict(self._runs.keys())

    def _close(self, keys: Iterable[RunKey]) -> None:
        for key in keys:
            del self._runs[key]
            self._closed[key] = None
            if len(self._closed) > _MAX_CLOSED_RUNS:
                self._closed.popitem(last=False)
