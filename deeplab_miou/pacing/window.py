"""The messages in transit between a replay and one evaluator."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from deeplab_miou.accounting import StreamCounts
from deeplab_miou.pacing.accounts import EvaluatorAccount, Tally


@dataclass
class Window:
    """What one evaluator has been sent and what it has made of it; not thread-safe.

    Attributes:
        name: the evaluator.
        topics: what it receives.
        pair_limit: most pairs and messages under way to admit another message.
        unheard_limit: most messages to send before its first account.
        sent: messages sent, by topic.
        account: its newest account; None before the first.
        origin: the account that this replay begins after; None if it begins with the counts.
        base: messages received that were not ours.
        unsure: by how much that may be too little.
        surplus: messages that certainly came from somebody else.
        resets: resets in the course of the replay.
        restarts: other runs that took the place of one in the course of the replay.
        ended_images: images that ended by the outcomes, which come between accounts.
        ended_labels: likewise labels.
        progress_s: when it last got on.
        outcome_s: when it last told the end of a frame.
    """

    name: str
    topics: frozenset[str]
    pair_limit: int
    unheard_limit: int = 1
    sent: Counter[str] = field(default_factory=Counter)
    account: EvaluatorAccount | None = None
    origin: EvaluatorAccount | None = None
    base: int = 0
    unsure: int = 0
    surplus: int = 0
    resets: int = 0
    restarts: int = 0
    ended_images: int = 0
    ended_labels: int = 0
    progress_s: float = -math.inf
    outcome_s: float = -math.inf

    @property
    def outstanding(self) -> int:
        """Messages sent that have not arrived."""
        received = 0 if self.account is None else self.account.received - self.base
        return self.sent.total() - received

    @property
    def pairs(self) -> int:
        """Upper bound of the pairs queued or in work: each keeps an image and a label waiting."""
        if self.account is None:
            return 0
        # An account may be ahead of the outcomes, and they ahead of it: neither adds to the other.
        images = self.account.images.received - max(self.account.images.ended, self.ended_images)
        labels = self.account.labels.received - max(self.account.labels.ended, self.ended_labels)
        return min(images, labels)

    def update(self, account: EvaluatorAccount) -> bool:
        """Take an account; return whether it was news."""
        known = self.account
        if known is not None and not account.supersedes(known):
            return False
        if known is None or known.counting != account.counting:
            self._begin(account)
        self.account = account
        excess = -self.outstanding
        if excess > 0:
            self.base += excess
            self.surplus += max(0, excess - self.unsure)
            self.unsure = max(0, self.unsure - excess)
        return True

    def _begin(self, account: EvaluatorAccount) -> None:
        """Find out what of counts that began anew belongs to this replay."""
        sent = self.sent.total()
        # What is on its way cannot be told from what arrived: call it arrived, `update` corrects.
        self.unsure = self.outstanding
        self.base = account.received - sent
        self.ended_images, self.ended_labels = account.images.ended, account.labels.ended
        if self.account is None:
            self.base = max(0, self.base)
            # Before the first account no pair can have been sent: what it scored is not ours.
            self.origin = account if account.received > sent else None
        else:
            self.origin = None
            self.restarts += self.account.run_id != account.run_id
            self.resets += self.account.run_id == account.run_id

    def end(self, stream: str, counting: tuple[str, int]) -> None:
        """Take the end of one frame.

        Args:
            stream: ``pair``, ``image`` or ``label``: what ended.
            counting: run and reset count that it was part of.
        """
        if self.account is not None and self.account.counting == counting:
            self.ended_images += stream in {"pair", "image"}
            self.ended_labels += stream in {"pair", "label"}

    def describe(self) -> str:
        """Return what it was sent and what it has made of it, for an error."""
        sent = ", ".join(f"{self.sent[topic]} on {topic}" for topic in sorted(self.topics))
        if self.account is None:
            return f"sent {sent}; it has published no account"
        images, labels = self.account.images, self.account.labels
        return (
            f"sent {sent}; it received {images.received} images and {labels.received} labels, "
            f"{self.outstanding} of those sent are missing, {images.waiting} images and "
            f"{labels.waiting} labels wait in it"
        )

    def tally(self) -> Tally:
        """Return what it did in the course of this replay."""
        if self.account is None:
            nothing = StreamCounts()
            return Tally(nothing, nothing, 0, self.resets, self.restarts, self.surplus)
        images, labels = self.account.images, self.account.labels
        evaluated = images.evaluated
        if self.origin is not None:
            images = images.since(self.origin.images)
            labels = labels.since(self.origin.labels)
        return Tally(images, labels, evaluated, self.resets, self.restarts, self.surplus)
