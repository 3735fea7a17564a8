"""How fast a replay may go: by the clock of the recording, or by what the evaluators have done."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.errors import DeeplabMiouError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_NS = 1_000_000_000
# Without an outcome for this long, what waits at an evaluator waits for partners, not for its turn.
PARTNER_WAIT_S = 2.0
# Without an account for this long, the evaluator's account began before it knew that we listen.
ACCOUNT_WAIT_S = 1.0


class StallError(DeeplabMiouError):
    """An evaluator no longer gets on with what it was sent; the message says what is missing."""


class StreamState(NamedTuple):
    """What became of one stream's messages at an evaluator.

    Attributes:
        received: messages that arrived.
        evaluated: messages that were scored.
        waiting: messages neither scored nor dropped yet.
        dropped: messages dropped, by reason.
    """

    received: int = 0
    evaluated: int = 0
    waiting: int = 0
    dropped: Mapping[str, int] = {}

    @property
    def ended(self) -> int:
        """Messages that are done with."""
        return self.received - self.waiting

    def since(self, earlier: StreamState) -> StreamState:
        """Return what was added after an earlier state of the same run."""
        dropped = Counter(self.dropped)
        dropped.subtract(earlier.dropped)
        return StreamState(
            self.received - earlier.received,
            self.evaluated - earlier.evaluated,
            self.waiting,
            {reason: count for reason, count in dropped.items() if count},
        )


class EvaluatorState(NamedTuple):
    """An evaluator's account of its streams; counts restart with each run and each reset."""

    run_id: str
    reset_count: int
    images: StreamState
    labels: StreamState

    @property
    def received(self) -> int:
        """Messages of both streams that arrived."""
        return self.images.received + self.labels.received

    @property
    def waiting(self) -> int:
        """Messages of both streams that are neither scored nor dropped."""
        return self.images.waiting + self.labels.waiting

    def supersedes(self, other: EvaluatorState) -> bool:
        """Return whether this is news: accounts of several threads may overtake each other."""
        if self.run_id != other.run_id or self.reset_count != other.reset_count:
            return self.run_id != other.run_id or self.reset_count > other.reset_count
        return (self.received, -self.waiting) > (other.received, -other.waiting)


@dataclass
class _Window:
    """What one evaluator has been sent and what it has made of it."""

    name: str
    topics: frozenset[str]
    pair_limit: int
    unheard_limit: int = 1  # until the first account, which tells where its counts stood
    sent: Counter[str] = field(default_factory=Counter)
    state: EvaluatorState | None = None
    origin: EvaluatorState | None = None  # where the counts of this replay begin
    base: int = 0  # messages received that were not ours
    unsure: int = 0  # by how much that may be too little
    surplus: int = 0
    resets: int = 0
    restarts: int = 0
    ended_images: int = 0  # by the outcomes, which come between accounts
    ended_labels: int = 0
    progress_s: float = -math.inf
    outcome_s: float = -math.inf

    @property
    def outstanding(self) -> int:
        """Messages sent that have not arrived."""
        received = 0 if self.state is None else self.state.received - self.base
        return self.sent.total() - received

    @property
    def pairs(self) -> int:
        """Upper bound of the pairs queued or in work: each keeps an image and a label waiting."""
        if self.state is None:
            return 0
        # An account may be ahead of the outcomes, and they ahead of it: neither adds to the other.
        images = self.state.images.received - max(self.state.images.ended, self.ended_images)
        labels = self.state.labels.received - max(self.state.labels.ended, self.ended_labels)
        return min(images, labels)

    def update(self, state: EvaluatorState) -> bool:
        """Take an account; return whether it was news."""
        known = self.state
        if known is not None and not state.supersedes(known):
            return False
        under_way = self.outstanding
        self.state = state
        if known is None or (known.run_id, known.reset_count) != (state.run_id, state.reset_count):
            # What is on its way cannot be told from what arrived: call it arrived, below corrects.
            self.unsure = under_way
            self.base = state.received - self.sent.total()
            if known is None:
                self.base = max(0, self.base)
            self.ended_images, self.ended_labels = state.images.ended, state.labels.ended
            if known is None:
                # Before the first account no pair can have been sent: what it scored is not ours.
                self.origin = state if state.received > self.sent.total() else None
            else:
                self.origin = None
                self.restarts += known.run_id != state.run_id
                self.resets += known.run_id == state.run_id
        if self.outstanding < 0:
            excess = -self.outstanding
            self.base += excess
            self.surplus += max(0, excess - self.unsure)
            self.unsure = max(0, self.unsure - excess)
        return True

    def describe(self) -> str:
        """Return what it was sent and what it has made of it, for an error."""
        sent = ", ".join(f"{self.sent[topic]} on {topic}" for topic in sorted(self.topics))
        if self.state is None:
            return f"sent {sent}; it sent no account of anything"
        images, labels = self.state.images, self.state.labels
        return (
            f"sent {sent}; it received {images.received} images and {labels.received} labels, "
            f"{self.outstanding} of those sent are missing, {images.waiting} images and "
            f"{labels.waiting} labels wait in it"
        )


class Tally(NamedTuple):
    """What one evaluator did in the course of a replay.

    Attributes:
        images: its images since the replay began, or since its last reset.
        labels: likewise its labels.
        evaluated: frames that it has scored since its last reset, before the replay included.
        resets: times that it was reset meanwhile.
        restarts: times that another run took its place: what that one had counted is gone.
        surplus: messages that it received from somebody else.
    """

    images: StreamState
    labels: StreamState
    evaluated: int
    resets: int
    restarts: int
    surplus: int


class Totals(NamedTuple):
    """Sums over evaluators; a result that has reached them is complete.

    Attributes:
        frames: frames scored.
        images: images that are done with, scored or not.
        labels: likewise labels.
    """

    frames: int
    images: int
    labels: int


class FlowControl:
    """Bounds what is under way to each evaluator, by the accounts and outcomes it publishes.

    Messages sent to an evaluator and not yet received, and pairs queued or in work in it, are
    together at most `in_flight`: neither a middleware queue nor a work queue of that depth can
    overflow. Thread-safe: one thread plays, others report.

    Args:
        evaluators: topics that each evaluator receives, by its name.
        in_flight: the window, in messages.
        stall_timeout_s: seconds without any progress after which waiting is given up.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        evaluators: Mapping[str, Collection[str]],
        *,
        in_flight: int,
        stall_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._in_flight = in_flight
        self._stall_timeout_s = stall_timeout_s
        self._clock = clock
        self._changed = threading.Condition()
        self._windows = {
            name: _Window(name, frozenset(topics), pair_limit=in_flight)
            for name, topics in evaluators.items()
        }

    def account(self, evaluator: str, state: EvaluatorState) -> None:
        """Take an evaluator's account of what it has received."""
        with self._changed:
            window = self._windows[evaluator]
            if window.update(state):
                window.progress_s = self._clock()
                self._changed.notify_all()

    def outcome(self, evaluator: str, stream: str, run_id: str, reset_count: int) -> None:
        """Take the end of one frame.

        Args:
            evaluator: who says so.
            stream: ``pair``, ``image`` or ``label``: what ended.
            run_id: run that it was part of.
            reset_count: resets of that run before it.
        """
        with self._changed:
            window = self._windows[evaluator]
            if window.state is not None and window.state[:2] == (run_id, reset_count):
                window.ended_images += stream in {"pair", "image"}
                window.ended_labels += stream in {"pair", "label"}
            window.progress_s = window.outcome_s = self._clock()
            self._changed.notify_all()

    def acquire(self, topic: str) -> None:
        """Wait until a message on a topic may be sent, and count it as sent.

        Raises:
            StallError: an evaluator made no progress for the stall timeout.
        """
        with self._changed:
            windows = [each for each in self._windows.values() if topic in each.topics]
            self._wait(windows, self._admits, self._widen)
            for window in windows:
                window.sent[topic] += 1

    def wait_received(self) -> None:
        """Wait until everything sent has arrived.

        Raises:
            StallError: an evaluator made no progress for the stall timeout.
        """
        with self._changed:
            self._wait(
                list(self._windows.values()),
                lambda window: window.outstanding == 0,
            )

    def idle(self, timeout_s: float) -> bool:
        """Wait until nothing waits in any evaluator; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(
                    each.state is not None and each.state.waiting == 0
                    for each in self._windows.values()
                ),
                timeout_s,
            )

    def totals(self) -> Totals:
        """Return what the evaluators have done since their last reset, added up."""
        with self._changed:
            states = [each.state for each in self._windows.values() if each.state is not None]
            return Totals(
                sum(each.images.evaluated for each in states),
                sum(each.images.ended for each in states),
                sum(each.labels.ended for each in states),
            )

    def describe(self, evaluator: str) -> str:
        """Return what an evaluator was sent and what it has made of it, for an error."""
        with self._changed:
            return self._windows[evaluator].describe()

    def tallies(self) -> dict[str, Tally]:
        """Return what each evaluator did, by its name."""
        with self._changed:
            return {name: _tally(window) for name, window in self._windows.items()}

    def _admits(self, window: _Window) -> bool:
        limit = self._in_flight if window.state is not None else window.unheard_limit
        # Each message on its way may complete a pair.
        under_way = window.outstanding + window.pairs
        return window.outstanding < limit and under_way < window.pair_limit

    def _widen(self, window: _Window, since_s: float) -> float:
        """Return when a bound that may mean nothing gives way, having moved it if it is time."""
        if window.state is None:
            gives_way_s = since_s + ACCOUNT_WAIT_S
            if window.unheard_limit >= self._in_flight:
                return math.inf
            if self._clock() >= gives_way_s:
                window.unheard_limit += 1
        elif window.outstanding < self._in_flight:
            gives_way_s = max(window.outcome_s, since_s) + PARTNER_WAIT_S
            if self._clock() >= gives_way_s:
                window.pair_limit *= 2
        else:
            return math.inf
        return gives_way_s

    def _wait(
        self,
        windows: Collection[_Window],
        ready: Callable[[_Window], bool],
        give_way: Callable[[_Window, float], float] = lambda _window, _since_s: math.inf,
    ) -> None:
        since_s = self._clock()
        while True:
            blocked = [window for window in windows if not ready(window)]
            if not blocked:
                return
            wake_s = min(give_way(window, since_s) for window in blocked)
            blocked = [window for window in blocked if not ready(window)]
            for window in blocked:
                stalled_s = max(window.progress_s, since_s) + self._stall_timeout_s
                if self._clock() >= stalled_s:
                    raise StallError(
                        f"evaluator {window.name} made no progress for "
                        f"{self._stall_timeout_s:g} s: {window.describe()}"
                    )
                wake_s = min(wake_s, stalled_s)
            if blocked:
                self._changed.wait(max(0.0, wake_s - self._clock()))


@dataclass
class Timeline:
    """Recorded time against the wall clock.

    Args:
        start_ns: recorded time that playing begins at.
        rate: recorded seconds in one second; ``inf`` plays without waiting.
        wall_s: wall clock at the beginning.
    """

    start_ns: int
    rate: float
    wall_s: float

    def due_s(self, recorded_ns: int) -> float:
        """Return the wall clock at which a recorded time is due."""
        return self.wall_s + (recorded_ns - self.start_ns) / _NS / self.rate

    def recorded_ns(self, wall_s: float) -> int:
        """Return the recorded time that a wall clock stands for."""
        return self.start_ns + round((wall_s - self.wall_s) * self.rate * _NS)


class Ticks:
    """Tells when the next of periodic events is due; what was missed is not made up for.

    Args:
        rate: events per second, 0 for none.
    """

    def __init__(self, rate: float) -> None:
        self._period_s = 1 / rate if rate else math.inf
        self._next_s = -math.inf if rate else math.inf

    @property
    def next_s(self) -> float:
        """When the next event is due; minus infinity before the first."""
        return self._next_s

    def due(self, now_s: float) -> bool:
        """Return whether an event is due, and go on to the next if so."""
        if now_s < self._next_s:
            return False
        missed = now_s - self._next_s > self._period_s
        self._next_s = (now_s if missed else self._next_s) + self._period_s
        return True


def _tally(window: _Window) -> Tally:
    state = window.state
    if state is None:
        empty = StreamState()
        return Tally(empty, empty, 0, window.resets, window.restarts, window.surplus)
    images, labels = state.images, state.labels
    if window.origin is not None:
        images = images.since(window.origin.images)
        labels = labels.since(window.origin.labels)
    return Tally(
        images, labels, state.images.evaluated, window.resets, window.restarts, window.surplus
    )
