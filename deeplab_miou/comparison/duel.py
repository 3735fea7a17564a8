"""Two running evaluators, followed by what they publish and compared frame by frame."""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.aggregation.messages import RefusedError
from deeplab_miou.comparison.joiner import Joiner
from deeplab_miou.comparison.paired_counts import PairedCounts
from deeplab_miou.comparison.predictions import Predictions
from deeplab_miou.comparison.snapshot import DuelSnapshot, SideSnapshot, decided_line
from deeplab_miou.report.provenance import scored_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.scores import AbsentClasses

# Of a reason that nobody gave: the other evaluator never reported the frame.
NOT_REPORTED = "not_reported"
_NAMES = ("A", "B")
_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 2**26
_MOST_EARLY = 1000
_MOST_EARLY_BYTES = 2**25
# Two evaluators are hardly ever this many frames apart.
_MANY = 100
_MOST_RETIRED = 64


class _Period(NamedTuple):
    """What an evaluator counts from one reset to the next."""

    run_id: str
    reset_count: int


@dataclass(eq=False)
class _Side:
    """What is known of an evaluator."""

    source: str = ""
    period: _Period | None = None
    class_names: tuple[str, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)
    received: int = 0
    newest: int = 0
    # Runs that are over, some of whose messages may still be under way.
    retired: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_RETIRED))

    @property
    def missing(self) -> int:
        """Outcomes known to exist that did not come."""
        return max(self.newest - self.received, 0)


class Duel:
    """Adds up what two evaluators say of the same frames; thread-safe.

    Args:
        margin: differences within it do not matter.
        absent_classes: as in `compute_scores`.
        label_map: gives the colours of pictures; made up by default.
    """

    def __init__(
        self,
        *,
        margin: float,
        absent_classes: AbsentClasses = "exclude",
        label_map: LabelMap | None = None,
    ) -> None:
        self._margin = margin
        self._absent_classes = absent_classes
        self._label_map = label_map
        self._lock = threading.Lock()
        self._sides = (_Side(), _Side())
        self._frames: Joiner[FrameRecord] = Joiner(_MOST_WAITING, _MOST_WAITING_BYTES)
        self._early: deque[tuple[int, FrameRecord]] = deque()
        self._early_bytes = 0
        self._restarts = 0
        self._note = ""
        self._begin()

    def _begin(self) -> None:
        """Start from zero."""
        names = self._class_names()
        self._counts = PairedCounts(names, margin=self._margin, absent_classes=self._absent_classes)
        self._predictions = Predictions(names, self._label_map)

    def _class_names(self) -> tuple[str, ...]:
        a, b = (side.class_names for side in self._sides)
        return a if a == b else ()

    def add_state(self, which: int, state: EvaluatorState) -> str:
        """Take an evaluator's state, from which only its classes and provenance are taken.

        Args:
            which: 0 for A, 1 for B.
            state: the state.

        Returns:
            A line for the log if something is new that a user should know; else nothing.

        Raises:
            RefusedError: it is of another evaluator than the ones before.
        """
        with self._lock:
            side = self._sides[which]
            line = self._follow(
                which, state.source, _Period(state.run.run_id, state.run.reset_count)
            )
            if line is None or side.class_names == state.class_names:
                return line or ""
            side.class_names = state.class_names
            side.provenance = _read(state.provenance)
            if all(each.class_names for each in self._sides):
                self._begin_with_classes()
                return self._note if not self._class_names() else line
            return line

    def add_frame(self, which: int, frame: FrameRecord) -> str:
        """Take the outcome of a frame.

        Args:
            which: 0 for A, 1 for B.
            frame: the outcome.

        Returns:
            A line for the log if something is new that a user should know; else nothing.

        Raises:
            RefusedError: it is of another evaluator, malformed, or one too many.
        """
        with self._lock:
            decided = self._counts.decision
            line = self._follow(which, frame.source, _Period(frame.run_id, frame.reset_count))
            if line is None:
                return ""
            side = self._sides[which]
            side.received += 1
            side.newest = max(side.newest, frame.sequence)
            # A label's outcome has no image to be joined by.
            if frame.stream == "label":
                return line
            if self._counts.blocks is None:
                self._hold(which, frame)
                return line
            self._join(which, frame)
            decision = self._counts.decision
            return line if decision is None or decision is decided else decided_line(decision)

    def add_prediction(self, which: int, stamp_ns: int, ids: NDArray[np.uint8]) -> None:
        """Take a prediction, ``(h, w)`` uint8 ids where n and above are not classes."""
        with self._lock:
            predictions = self._predictions
        predictions.add(which, stamp_ns, ids)

    def reset(self) -> int:
        """Start from zero; return how many frames are forgotten."""
        with self._lock:
            frames = self._counts.frames
            for which in (0, 1):
                self._frames.forget(which)
            self._begin()
            return frames

    def snapshot(self) -> DuelSnapshot:
        """Return all at one instant."""
        with self._lock:
            a, b = (self._side_snapshot(which) for which in (0, 1))
            counts = self._counts
            return DuelSnapshot(
                a=a,
                b=b,
                class_names=self._class_names(),
                blocks=None if counts.blocks is None else counts.blocks.read(),
                frames=counts.frames,
                stamp_ns=counts.stamp_ns,
                neither=counts.neither,
                other_ground_truth=counts.other_ground_truth,
                decision=counts.decision,
                changed=counts.changed.copy(),
                disagreement=self._predictions.read(),
                restarts=self._restarts,
                note="; ".join(filter(None, [self._note, self._mistake(a, b)])),
            )

    def _mistake(self, a: SideSnapshot, b: SideSnapshot) -> str:
        """Return what looks like a mistake in the set-up; empty if nothing does."""
        if self._counts.other_ground_truth:
            return (
                "frames scored on different ground truth: "
                f"{self._counts.other_ground_truth}; give A and B the same labels, and "
                "score_at: label"
            )
        if not self._counts.frames and min(a.waiting, b.waiting) >= _MANY:
            return (
                "no frame of A has the stamp of a frame of B: their images, or predictions, must "
                "have the stamps of the same camera"
            )
        return ""

    def _side_snapshot(self, which: int) -> SideSnapshot:
        side = self._sides[which]
        return SideSnapshot(
            side.source,
            scored_name(side.provenance) or side.source,
            side.provenance,
            side.missing,
            sum(frame.evaluated for frame in self._frames.waiting(which)),
            dict(self._counts.only[which]),
        )

    def _follow(self, which: int, source: str, period: _Period) -> str | None:
        """Take note of whose message comes; None if it is of a run that is over."""
        side = self._sides[which]
        if side.source not in ("", source):
            raise RefusedError(
                "source",
                f"{_NAMES[which]} is {side.source!r}, so what {source!r} publishes on its topics "
                "is not compared: give each evaluator topics of its own",
            )
        if period == side.period:
            return ""
        if side.period is None:
            side.source, side.period = source, period
            return ""
        is_reset = period.run_id == side.period.run_id
        if period.run_id in side.retired or (
            is_reset and period.reset_count < side.period.reset_count
        ):
            return None
        if not is_reset:
            side.retired.append(side.period.run_id)
        self._sides[which].period = period
        side.received = side.newest = 0
        self._frames.forget(which)
        self._early = deque(each for each in self._early if each[0] != which)
        self._early_bytes = sum(frame.nbytes for _, frame in self._early)
        if not is_reset:
            # Its next state says what it is now.
            side.class_names = ()
        self._begin()
        self._restarts += 1
        self._note = (
            f"{_NAMES[which]} ({source}) was {'reset' if is_reset else 'restarted'}: counting "
            "began anew"
        )
        return self._note

    def _hold(self, which: int, frame: FrameRecord) -> None:
        """Keep a frame until all classes are known; if there are too many, not the oldest."""
        self._early.append((which, frame))
        self._early_bytes += frame.nbytes
        while len(self._early) > _MOST_EARLY or self._early_bytes > _MOST_EARLY_BYTES:
            side, oldest = self._early.popleft()
            self._early_bytes -= oldest.nbytes
            self._counts.add_unpaired(side, oldest, NOT_REPORTED)

    def _begin_with_classes(self) -> None:
        """Start counting, now that the classes of both are known."""
        before = self._counts
        self._begin()
        self._counts.only, self._counts.neither = before.only, before.neither
        if not self._class_names():
            self._note = "A and B have different classes: run both with the same label map"
            return
        early, self._early, self._early_bytes = self._early, deque(), 0
        for which, frame in early:
            # What is wrong with a frame has been counted.
            with suppress(RefusedError):
                self._join(which, frame)

    def _join(self, which: int, frame: FrameRecord) -> None:
        """Count a frame, once the other evaluator has reported it too or it has waited enough."""
        found = self._frames.put(which, frame.stamp_ns, frame, frame.nbytes)
        for each in self._frames.crowded_out():
            self._counts.add_unpaired(each.side, each.item, NOT_REPORTED)
        if found is not None:
            self._counts.add(*found)


def _read(provenance: str) -> dict[str, object]:
    """Return an evaluator's provenance, whose content is arbitrary."""
    try:
        found = json.loads(provenance)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
