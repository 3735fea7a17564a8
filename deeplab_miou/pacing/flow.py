"""Limits the messages in transit to evaluators, so that a replay loses nothing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deeplab_miou.errors import DeeplabMiouError
from deeplab_miou.pacing.accounts import Done
from deeplab_miou.pacing.transit import Transit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from deeplab_miou.pacing.accounts import EvaluatorAccount, Tally


class StallError(DeeplabMiouError):
    """An evaluator no longer gets on with what it was sent; the message says what is missing."""


class FlowControl:
    """Limits the messages in transit to each evaluator, by the accounts it publishes.

    Messages sent to an evaluator and not yet received are at most `in_flight`, so that no queue of
    that depth in the middleware overflows. What it has received it keeps: it receives nothing more
    while its own queue is full. Thread-safe: one thread plays, others report.

    Args:
        evaluators: topics that each evaluator receives and its account before the replay, by its
            name.
        in_flight: most messages in transit.
        stall_timeout_s: seconds without any progress after which waiting is given up.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        evaluators: Mapping[str, tuple[Collection[str], EvaluatorAccount]],
        *,
        in_flight: int,
        stall_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._clock = clock
        self._changed = threading.Condition()
        self._transits = {
            name: Transit(name, frozenset(topics), in_flight, account)
            for name, (topics, account) in evaluators.items()
        }

    def account(self, evaluator: str, account: EvaluatorAccount) -> None:
        """Take an evaluator's account of what it has received."""
        with self._changed:
            transit = self._transits[evaluator]
            if transit.update(account):
                transit.progress_s = self._clock()
                self._changed.notify_all()

    def acquire(self, topic: str) -> None:
        """Wait until a message on a topic may be sent, and count it as sent.

        Raises:
            StallError: an evaluator made no progress for the stall timeout.
        """
        with self._changed:
            transits = [each for each in self._transits.values() if topic in each.topics]
            self._wait(transits, lambda transit: transit.admits)
            for transit in transits:
                transit.sent[topic] += 1

    def wait_received(self) -> None:
        """Wait until everything sent has arrived.

        Raises:
            StallError: an evaluator made no progress for the stall timeout.
        """
        with self._changed:
            self._wait(
                list(self._transits.values()),
                lambda transit: transit.outstanding == 0,
            )

    def idle(self, timeout_s: float) -> bool:
        """Wait until nothing waits in any evaluator; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(each.account.waiting == 0 for each in self._transits.values()),
                timeout_s,
            )

    def done(self) -> Done:
        """Return what the evaluators have done since their last reset, added up."""
        with self._changed:
            accounts = [each.account for each in self._transits.values()]
            return Done(
                sum(each.images.evaluated for each in accounts),
                sum(each.images.ended for each in accounts),
                sum(each.labels.ended for each in accounts),
            )

    def describe(self, evaluator: str) -> str:
        """Return what an evaluator was sent and what it has made of it, for an error."""
        with self._changed:
            return self._transits[evaluator].describe()

    def tallies(self) -> dict[str, Tally]:
        """Return what each evaluator did, by its name."""
        with self._changed:
            return {name: transit.tally() for name, transit in self._transits.items()}

    def _wait(self, transits: Collection[Transit], ready: Callable[[Transit], bool]) -> None:
        since_s = self._clock()
        while blocked := [transit for transit in transits if not ready(transit)]:
            first = min(blocked, key=lambda transit: transit.progress_s)
            left_s = max(first.progress_s, since_s) + self._stall_timeout_s - self._clock()
            if left_s <= 0:
                raise StallError(
                    f"evaluator {first.name} made no progress for {self._stall_timeout_s:g} s: "
                    f"{first.describe()}"
                )
            self._changed.wait(left_s)
