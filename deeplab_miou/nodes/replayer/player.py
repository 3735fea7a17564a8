"""Publishes recorded messages, each in its turn, and the matching clock."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from rclpy.duration import Duration
from rosgraph_msgs.msg import Clock

from deeplab_miou.pacing.playback_clock import PlaybackClock, Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from rclpy.publisher import Publisher

    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.nodes.replayer.tags import StampedTags
    from deeplab_miou.pacing.flow import FlowControl

_NS = 1_000_000_000
_POLL_S = 0.02
_ACKNOWLEDGE_LIMIT_S = 5.0


class Player:
    """Plays messages by the clock, or as flow control admits them.

    Args:
        clock: publishes the time; None for no clock.
        clock_rate: messages of the clock in a second.
        rate: recorded seconds in one second; unused with flow control.
        held_back: a block that no interrupt cuts, so that every message sent is counted.

    Attributes:
        offers: who publishes, by topic.
        flow: bounds what is under way to evaluators; None to play by the clock.
        tags: sees each message before it is sent; None if not needed.
        sent: messages sent, by topic.
    """

    def __init__(
        self,
        clock: Publisher | None,
        *,
        clock_rate: float,
        rate: float,
        held_back: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._clock = clock
        self._clock_rate = clock_rate
        self._rate = rate
        self._held_back = held_back
        self.offers: dict[str, Publisher] = {}
        self.flow: FlowControl | None = None
        self.tags: StampedTags | None = None
        self.sent: Counter[str] = Counter()

    def play(self, messages: Iterable[BagMessage], start_ns: int) -> Iterator[float]:
        """Publish messages.

        Args:
            messages: in the order of their recording, on topics that are offered.
            start_ns: recorded time to begin at.

        Yields:
            Recorded seconds since the beginning, after each message.

        Raises:
            StallError: an evaluator does not get on.
        """
        ticks = Ticks(self._clock_rate)
        clock = PlaybackClock(start_ns, self._rate, time.monotonic())
        for message in messages:
            if self.flow is None:
                self._wait_for_time(message.timestamp_ns, clock, ticks)
            else:
                if ticks.due(message.timestamp_ns / _NS):
                    self._tick(message.timestamp_ns)
                self.flow.acquire(message.topic)
            if self.tags is not None:
                self.tags.play(message)
            with self._held_back():
                self.offers[message.topic].publish(message.data)
                self.sent[message.topic] += 1
            yield (message.timestamp_ns - start_ns) / _NS
        if self.tags is not None:
            self.tags.finish()

    def wait_for_acknowledgements(self) -> None:
        """Wait until subscribers have what was sent; seconds, so only where nothing else tells."""
        limit_s = time.monotonic() + _ACKNOWLEDGE_LIMIT_S
        for publisher in self.offers.values():
            # In short pieces, because rclpy waits without releasing the interpreter.
            while not publisher.wait_for_all_acked(Duration(nanoseconds=1_000_000)):
                if time.monotonic() >= limit_s:
                    return
                time.sleep(_POLL_S)

    def _wait_for_time(self, recorded_ns: int, clock: PlaybackClock, ticks: Ticks) -> None:
        due_s = clock.due_s(recorded_ns)
        while (now_s := time.monotonic()) < due_s:
            if ticks.due(now_s):
                self._tick(clock.recorded_ns(now_s))
            time.sleep(max(0.0, min(due_s, ticks.next_s) - time.monotonic()))
        if ticks.due(now_s):
            self._tick(recorded_ns)

    def _tick(self, recorded_ns: int) -> None:
        if self._clock is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(recorded_ns, _NS)
            self._clock.publish(message)
