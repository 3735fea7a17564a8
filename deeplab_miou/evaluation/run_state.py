"""What a run has counted: matrix, account and sequence, updated together under one lock."""

from __future__ import annotations

import threading
import uuid
from typing import NamedTuple

from deeplab_miou.accounting import Account, Reason, RunningAccount, Stream
from deeplab_miou.aggregation.messages import RunSnapshot
from deeplab_miou.metric.counts import Counts


class RunPosition(NamedTuple):
    """Place of one outcome in its run."""

    reset_count: int
    sequence: int


class RunState:
    """Thread-safe state of a run.

    Every message carries the reset count that it was received under; one that ends after a reset
    belongs to the run that was discarded and is counted nowhere.

    Args:
        num_classes: number of classes n.
        regions: how many regions each frame has, see `Counts`.
        run_id: unique for the process that counts; made up if empty.
        reset_count: resets before this one, of the same process.
    """

    def __init__(
        self, num_classes: int, *, regions: int = 0, run_id: str = "", reset_count: int = 0
    ) -> None:
        self.run_id = run_id or uuid.uuid4().hex
        self._lock = threading.Lock()
        self._zero = self._counts = Counts.zero(num_classes, regions)
        self._account = RunningAccount()
        self._reset_count = reset_count
        self._depth_images = 0
        self._sequence = 0
        self._newest_stamp_ns: int | None = None

    def received(self, stream: Stream) -> int:
        """Count a message that arrived and return the reset count that it belongs to."""
        with self._lock:
            self._account.received(stream)
            return self._reset_count

    def depth_received(self) -> int:
        """Count a depth image that arrived and return the reset count, likewise."""
        with self._lock:
            self._depth_images += 1
            return self._reset_count

    def dropped(
        self, reset_count: int, streams: tuple[Stream, ...], reason: Reason
    ) -> RunPosition | None:
        """Count an image, a label or both as dropped; None if they belong to a discarded run."""
        with self._lock:
            if reset_count != self._reset_count:
                return None
            for stream in streams:
                self._account.dropped(stream, reason)
            return self._next_position()

    def lost(self, stream: Stream, count: int) -> None:
        """Count messages that a recorder lost; they have no outcome of their own."""
        with self._lock:
            self._account.lost(stream, count)

    def evaluated(self, reset_count: int, counts: Counts, stamp_ns: int) -> RunPosition | None:
        """Add a frame; None if the frame belongs to a discarded run.

        Args:
            reset_count: the one that its messages were received under.
            counts: of the frame.
            stamp_ns: the frame's stamp, nanoseconds.
        """
        with self._lock:
            if reset_count != self._reset_count:
                return None
            self._counts += counts
            self._account.evaluated()
            newest_ns = self._newest_stamp_ns
            self._newest_stamp_ns = stamp_ns if newest_ns is None else max(newest_ns, stamp_ns)
            return self._next_position()

    def snapshot(self) -> RunSnapshot:
        """Return everything at one instant."""
        with self._lock:
            return RunSnapshot(
                run_id=self.run_id,
                reset_count=self._reset_count,
                frame_sequence=self._sequence,
                counts=self._counts,
                stamp_ns=self._newest_stamp_ns or 0,
                account=self._account.snapshot(),
                depth_images=self._depth_images,
            )

    @property
    def account(self) -> Account:
        """What happened to every message so far."""
        return self._account.snapshot()

    def reset(self) -> None:
        """Discard all counts; messages received before belong to no run."""
        with self._lock:
            self._counts = self._zero
            self._account.reset()
            self._reset_count += 1
            self._depth_images = 0
            self._sequence = 0
            self._newest_stamp_ns = None

    def _next_position(self) -> RunPosition:
        self._sequence += 1
        return RunPosition(self._reset_count, self._sequence)
