"""Limits the messages in transit to evaluators, so that a replay loses nothing."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.pacing.accounts import Done
from deeplab_miou.pacing.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from deeplab_miou.pacing.accounts import EvaluatorAccount, Tally

# Without an outcome for this long, what waits at an evaluator waits for partners, not for its turn.
_PARTNER_WAIT_S = 2.0
# Without an account for this long, the evaluator's account began before it knew that we listen.
_ACCOUNT_WAIT_S = 1.0


class StallError(DeeplabMiouError):
    """An evaluator no longer gets on with what it was sent; the message says what is missing."""


class FlowControl:
    """Limits the messages in transit to each evaluator, by the accounts and outcomes it publishes.

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
            name: Window(name, frozenset(topics), pair_limit=in_flight)
            for name, topics in evaluators.items()
        }

    def account(self, evaluator: str, account: EvaluatorAccount) -> None:
        """Take an evaluator's account of what it has received."""
        with self._changed:
            window = self._windows[evaluator]
            if window.update(account):
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
            window.end(stream, (run_id, reset_count))
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
                    each.account is not None and each.account.waiting == 0
                    for each in self._windows.values()
                ),
                timeout_s,
            )

    def done(self) -> Done:
        """Return what the evaluators have done since their last reset, added up."""
        with self._changed:
            accounts = [each.account for each in self._windows.values() if each.account is not None]
            return Done(
                sum(each.images.evaluated for each in accounts),
                sum(each.images.ended for each in accounts),
                sum(each.labels.ended for each in accounts),
            )

    def describe(self, evaluator: str) -> str:
        """Return what an evaluator was sent and what it has made of it, for an error."""
        with self._changed:
            return self._windows[evaluator].describe()

    def tallies(self) -> dict[str, Tally]:
        """Return what each evaluator did, by its name."""
        with self._changed:
            return {name: window.tally() for name, window in self._windows.items()}

    def _admits(self, window: Window) -> bool:
        limit = self._in_flight if window.account is not None else window.unheard_limit
        # Each message on its way may complete a pair.
        under_way = window.outstanding + window.pairs
        return window.outstanding < limit and under_way < window.pair_limit

    def _widen(self, window: Window, since_s: float) -> float:
        """Return when a bound that may mean nothing gives way, having moved it if it is time."""
        if window.account is None:
            gives_way_s = since_s + _ACCOUNT_WAIT_S
            if window.unheard_limit >= self._in_flight:
                return math.inf
            if self._clock() >= gives_way_s:
                window.unheard_limit += 1
        elif window.outstanding < self._in_flight:
            gives_way_s = max(window.outcome_s, since_s) + _PARTNER_WAIT_S
            if self._clock() >= gives_way_s:
                window.pair_limit *= 2
        else:
            return math.inf
        return gives_way_s

    def _wait(
        self,
        windows: Collection[Window],
        ready: Callable[[Window], bool],
        give_way: Callable[[Window, float], float] = lambda _window, _since_s: math.inf,
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
