"""The messages in transit between a replay and one evaluator."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field

from deeplab_miou.pacing.accounts import EvaluatorAccount, Tally
from deeplab_miou.text import plural

_REMEMBERED_RUNS = 16


@dataclass
class Transit:
    """What one evaluator has been sent, and what became of it; not thread-safe.

    What an evaluator has received cannot be lost: it receives nothing while its queue is full. So
    only the messages in transit are limited, to what the middleware keeps for a subscriber.

    Attributes:
        name: the evaluator.
        topics: what it receives.
        limit: maximum number of messages in transit.
        account: its newest account.
        sent: messages sent, by topic.
        origin: the account that this replay begins after; None if it begins with the counts.
        not_ours: messages received that were not ours.
        not_ours_missing: by how much `not_ours` may be too little.
        foreign: messages that certainly came from other publishers.
        resets: resets in the course of the replay.
        restarts: other runs that took the place of one in the course of the replay.
        past_runs: those that another has taken the place of: their last accounts may come late.
        progress_s: when it last got on.
    """

    name: str
    topics: frozenset[str]
    limit: int
    account: EvaluatorAccount
    sent: Counter[str] = field(default_factory=Counter)
    origin: EvaluatorAccount | None = field(init=False)
    not_ours: int = field(init=False)
    not_ours_missing: int = 0
    foreign: int = 0
    resets: int = 0
    restarts: int = 0
    past_runs: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_RUNS))
    progress_s: float = -math.inf

    def __post_init__(self) -> None:
        self.origin = self.account
        self.not_ours = self.account.received

    @property
    def outstanding(self) -> int:
        """Messages sent that have not arrived."""
        return self.sent.total() - (self.account.received - self.not_ours)

    @property
    def admits(self) -> bool:
        """Whether another message may be sent."""
        return self.account.paced and self.outstanding < self.limit

    def update(self, account: EvaluatorAccount) -> bool:
        """Take an account; return whether it was news."""
        if account.run_id in self.past_runs or not account.supersedes(self.account):
            return False
        if self.account.counting != account.counting:
            self._begin_anew(account)
        self.account = account
        excess = -self.outstanding
        if excess > 0:
            self.not_ours += excess
            self.foreign += max(0, excess - self.not_ours_missing)
            self.not_ours_missing = max(0, self.not_ours_missing - excess)
        return True

    def _begin_anew(self, account: EvaluatorAccount) -> None:
        """Find out which part of counts that started over belongs to this replay."""
        # What is in transit looks like what arrived: count it as arrived, `update` corrects that.
        self.not_ours_missing = self.outstanding
        self.not_ours = account.received - self.sent.total()
        self.origin = None
        if self.account.run_id == account.run_id:
            self.resets += 1
        else:
            self.restarts += 1
            self.past_runs.append(self.account.run_id)

    def describe(self) -> str:
        """Return what it was sent and what it has made of it, for an error."""
        sent = ", ".join(f"{self.sent[topic]} on {topic}" for topic in sorted(self.topics))
        images, labels = self.account.images, self.account.labels
        return (
            f"sent {sent}; it received {plural(images.received, 'image')} and "
            f"{plural(labels.received, 'label')}, {self.outstanding} of those sent are missing, "
            f"{plural(images.waiting, 'image')} and {plural(labels.waiting, 'label')} wait in it"
            + ("" if self.account.paced else ", and it does not know that it is paced")
        )

    def tally(self) -> Tally:
        """Return what it did in the course of this replay."""
        images, labels = self.account.images, self.account.labels
        evaluated = images.evaluated
        if self.origin is not None:
            images = images.since(self.origin.images)
            labels = labels.since(self.origin.labels)
        return Tally(images, labels, evaluated, self.resets, self.restarts, self.foreign)
