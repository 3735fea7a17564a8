"""Compares two running evaluators by what they publish; free of ROS."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeplab_miou.aggregation.messages import MAX_SUM, RefusedError
from deeplab_miou.comparison.changes import MostChanged, changed_frame
from deeplab_miou.comparison.difference import decide, paired_blocks
from deeplab_miou.comparison.joining import Joiner
from deeplab_miou.comparison.party import subject
from deeplab_miou.comparison.predictions import Predictions
from deeplab_miou.comparison.snapshot import (
    Decision,
    DuelSnapshot,
    PartySnapshot,
    decided_line,
)
from deeplab_miou.metric.scores import class_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeplab_miou.aggregation.messages import EvaluatorState, FrameRecord
    from deeplab_miou.labels.label_map import LabelMap
    from deeplab_miou.metric.blocks import BlockSums
    from deeplab_miou.metric.scores import AbsentClasses

_NS = 1_000_000_000
# Of a reason that nobody gave: the other evaluator never reported the frame.
NOT_REPORTED = "not_reported"
# What the other evaluator said of it cannot be counted.
MALFORMED = "malformed"
_NAMES = ("A", "B")
_MOST_WAITING = 10_000
_MOST_WAITING_BYTES = 2**26
_MOST_EARLY = 1000
_MOST_EARLY_BYTES = 2**25
# Two evaluators are hardly ever so many frames apart.
_MANY = 100
_MOST_RETIRED = 64
_MOST_REASONS = 64


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
        self._blocks: BlockSums | None = paired_blocks(len(names)) if names else None
        self._count = 0
        self._pixels = 0
        self._stamp_ns = 0
        self._looked: int | None = None
        self._neither = 0
        self._other_truth = 0
        self._only: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self._decision: Decision | None = None
        self._changed = MostChanged()
        self._predictions = Predictions(names, self._label_map)

    def _class_names(self) -> tuple[str, ...]:
        a, b = (side.class_names for side in self._sides)
        return a if a == b else ()

    # What comes.

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
            decided = self._decision
            line = self._follow(which, frame.source, _Period(frame.run_id, frame.reset_count))
            if line is None:
                return ""
            side = self._sides[which]
            side.received += 1
            side.newest = max(side.newest, frame.sequence)
            # A label's outcome has no image to be joined by.
            if frame.stream == "label":
                return line
            if self._blocks is None:
                self._hold(which, frame)
                return line
            self._add_frame(which, frame)
            if self._decision is not None and self._decision is not decided:
                return decided_line(self._decision)
            return line

    def add_prediction(self, which: int, stamp_ns: int, ids: NDArray[np.uint8]) -> None:
        """Take a prediction, ``(h, w)`` uint8 ids of which n and above are no class."""
        with self._lock:
            predictions = self._predictions
        predictions.add(which, stamp_ns, ids)

    def reset(self) -> int:
        """Start from zero; return how many frames are forgotten."""
        with self._lock:
            frames = self._count
            for which in (0, 1):
                self._frames.forget(which)
            self._begin()
            return frames

    def snapshot(self) -> DuelSnapshot:
        """Return all at one instant."""
        with self._lock:
            a, b = (self._party(which) for which in (0, 1))
            return DuelSnapshot(
                a=a,
                b=b,
                class_names=self._class_names(),
                blocks=None if self._blocks is None else self._blocks.read(),
                frames=self._count,
                stamp_ns=self._stamp_ns,
                neither=self._neither,
                other_ground_truth=self._other_truth,
                decision=self._decision,
                changed=self._changed.copy(),
                disagreement=self._predictions.read(),
                restarts=self._restarts,
                note="; ".join(filter(None, [self._note, self._mistake(a, b)])),
            )

    def _mistake(self, a: PartySnapshot, b: PartySnapshot) -> str:
        """Return what looks like a mistake of whoever set it up; empty if nothing does."""
        if self._other_truth:
            return (
                f"frames scored on different ground truth: {self._other_truth}; give A and B the "
                "same labels, and score_at: label"
            )
        if not self._count and min(a.waiting, b.waiting) >= _MANY:
            return (
                "no frame of A has the stamp of a frame of B: their images, or predictions, must "
                "have the stamps of the same camera"
            )
        return ""

    def _party(self, which: int) -> PartySnapshot:
        side = self._sides[which]
        return PartySnapshot(
            side.source,
            subject(side.provenance) or side.source,
            side.provenance,
            side.missing,
            sum(frame.evaluated for frame in self._frames.waiting(which)),
            dict(self._only[which]),
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
            self._count_apart(side, oldest, NOT_REPORTED)

    def _begin_with_classes(self) -> None:
        """Start to count, now that both have said what their classes are."""
        only, neither = self._only, self._neither
        self._begin()
        self._only, self._neither = only, neither
        if not self._class_names():
            self._note = "A and B have different classes: run both with the same label map"
            return
        early, self._early, self._early_bytes = self._early, deque(), 0
        for which, frame in early:
            # What is wrong with a frame has been counted.
            with suppress(RefusedError):
                self._add_frame(which, frame)

    # What is counted.

    def _add_frame(self, which: int, frame: FrameRecord) -> None:
        found = self._frames.put(which, frame.stamp_ns, frame, frame.nbytes)
        for each in self._frames.crowded_out():
            self._count_apart(each.side, each.item, NOT_REPORTED)
        if found is None:
            return
        scored = [each.evaluated for each in found]
        if all(scored):
            self._count_both(*found)
        elif any(scored):
            side = scored.index(True)
            self._count_apart(side, found[side], found[1 - side].reason)
        else:
            self._neither += 1

    def _count_apart(self, which: int, frame: FrameRecord, reason: str) -> None:
        if not frame.evaluated:
            self._neither += 1
            return
        reasons = self._only[which]
        known = reason in reasons or len(reasons) < _MOST_REASONS
        reasons[reason if known else "other"] += 1

    def _count_both(self, a: FrameRecord, b: FrameRecord) -> None:
        if self._blocks is None:
            return
        matrices = self._matrices(a, b)
        if not np.array_equal(*(each.sum(axis=1) for each in matrices)):
            self._other_truth += 1
            return
        pixels = self._pixels + int(matrices[0].sum())
        if pixels > MAX_SUM:
            raise RefusedError("overflow", f"more than {MAX_SUM} pixels: call reset to start over")
        self._pixels = pixels
        self._count += 1
        self._stamp_ns = max(self._stamp_ns, a.stamp_ns)
        self._changed.update(changed_frame(a.stamp_ns, *matrices))
        counts = np.stack([class_counts(each) for each in matrices])
        # Frames without labels say nothing: time without them makes no block.
        if counts.any():
            self._look(a.stamp_ns)
            self._blocks.add([(counts, a.stamp_ns)])

    def _matrices(self, *frames: FrameRecord) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the counts of a frame by A and by B.

        Raises:
            RefusedError: one is malformed; the frame is then counted as the other's only.
        """
        found: list[NDArray[np.int64] | None] = []
        error = None
        for frame in frames:
            try:
                found.append(frame.matrix(len(self._class_names())))
            except RefusedError as refused:
                error = refused
                found.append(None)
        a, b = found
        if a is not None and b is not None:
            return a, b
        if a is None and b is None:
            self._neither += 1
        else:
            self._count_apart(0 if b is None else 1, frames[0], MALFORMED)
        raise error or RefusedError("malformed", "its counts cannot be read")

    def _look(self, stamp_ns: int) -> None:
        """Decide, once a second of the stream, by the frames before it."""
        if self._decision is not None or self._blocks is None or self._looked == stamp_ns // _NS:
            return
        self._looked = stamp_ns // _NS
        blocks = self._blocks.read()
        verdict = decide(blocks, margin=self._margin, absent_classes=self._absent_classes)
        if verdict != "no evidence":
            self._decision = Decision(verdict, stamp_ns, self._count - 1)


def _read(provenance: str) -> dict[str, object]:
    """Return what an evaluator says of itself, which may be anything."""
    try:
        found = json.loads(provenance)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
