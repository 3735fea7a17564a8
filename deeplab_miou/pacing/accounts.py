"""What evaluators report having done, and what a replay concludes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from deeplab_miou.accounting import StreamCounts


class EvaluatorAccount(NamedTuple):
    """An evaluator's account of its streams; counts restart with each run and each reset.

    Attributes:
        run_id: which process counted.
        reset_count: its resets so far.
        images: what became of its images.
        labels: what became of its labels.
        paced: a full queue of it holds up the replay and drops nothing.
        frame_listeners: subscriptions that its outcomes reach.
        depth_images: depth images received.
        topics: that it takes.
    """

    run_id: str
    reset_count: int
    images: StreamCounts
    labels: StreamCounts
    paced: bool
    frame_listeners: int = 0
    depth_images: int = 0
    topics: tuple[str, ...] = ()

    @property
    def counting(self) -> tuple[str, int]:
        """What the counts are part of: they began from zero with this run and reset."""
        return self.run_id, self.reset_count

    @property
    def received(self) -> int:
        """Messages of all streams that arrived."""
        return self.images.received + self.labels.received + self.depth_images

    @property
    def waiting(self) -> int:
        """Messages of both streams that are neither scored nor dropped."""
        return self.images.waiting + self.labels.waiting

    def supersedes(self, other: EvaluatorAccount) -> bool:
        """Return whether this is news: accounts of several threads may overtake each other."""
        if self.counting != other.counting:
            return self.run_id != other.run_id or self.reset_count > other.reset_count
        return self._progress > other._progress

    @property
    def _progress(self) -> tuple[int, int, bool]:
        return self.received, -self.waiting, self.paced


class Tally(NamedTuple):
    """What one evaluator did in the course of a replay.

    Attributes:
        images: its images since the replay began, or since its last reset.
        labels: likewise its labels.
        evaluated: frames that it has scored since its last reset, before the replay included.
        resets: times that it was reset meanwhile.
        restarts: times that another run took its place: what that one had counted is gone.
        foreign: messages that it received from other publishers.
    """

    images: StreamCounts
    labels: StreamCounts
    evaluated: int
    resets: int
    restarts: int
    foreign: int


class Done(NamedTuple):
    """What evaluators have done, added up; a result that has reached it is complete.

    Attributes:
        frames: frames scored.
        images: images that are done with, scored or not.
        labels: likewise labels.
    """

    frames: int
    images: int
    labels: int
