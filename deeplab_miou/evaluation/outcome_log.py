"""What the log says about single frames, in few lines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou.accounting import Stream
from deeplab_miou.images.decoding import unknown_labels
from deeplab_miou.metric.doubts import MOST_UNKNOWN
from deeplab_miou.telemetry import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deeplab_miou.evaluation.naming import Legends
    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.labels.label_map import LabelMap

_UNKNOWN_PERIOD_S = 60.0
_DEPTH = "depth"


class LogLine(NamedTuple):
    """A line for the log.

    Attributes:
        text: what it says.
        is_warning: whether the user can do something about it.
    """

    text: str
    is_warning: bool = True


class OutcomeLog:
    """Finds what is worth a line of the log, and repeats itself every few seconds at most.

    It reports frames that were not evaluated, and why; depth images that cannot be used; and, once
    a minute, which values the label map does not know, if there are many. Thread-safe.

    Args:
        topics: name of each stream's topic.
        label_map: what labels mean.
        legends: the names of ids.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        topics: Mapping[Stream, str],
        label_map: LabelMap,
        legends: Legends,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._label_map = label_map
        self._legends = legends
        self._throttle = Throttle(clock=clock)
        self._unknown_throttle = Throttle(_UNKNOWN_PERIOD_S, clock)

    def lines(self, outcome: FrameOutcome) -> Iterator[LogLine]:
        """Yield the log lines about a frame; usually none."""
        if outcome.reason is not None and (text := self._dropped(outcome)):
            yield LogLine(text, is_warning=not outcome.reason.is_normal)
        elif outcome.reason is None and (text := self._unknown(outcome)):
            yield LogLine(text)
        if outcome.depth_problem and self._throttle.admit(_DEPTH) is not None:
            yield LogLine(f"a depth image cannot be used: {outcome.depth_problem}")

    def _dropped(self, outcome: FrameOutcome) -> str:
        held_back = self._throttle.admit(outcome.reason)
        if held_back is None or outcome.reason is None:
            return ""
        streams = ((Stream.IMAGE, outcome.image), (Stream.LABEL, outcome.label))
        parts = [(stream, arrival) for stream, arrival in streams if arrival is not None]
        (first, arrival), *_ = parts
        what = "pair" if len(parts) == len(streams) else first.value
        where = " and ".join(self._topics[stream] for stream, _ in parts)
        more = f" ({held_back} more like it since the last such line)" if held_back else ""
        return (
            f"{what} of {where} at {arrival.stamp_ns / 1e9:.3f} s not evaluated, "
            f"{outcome.reason.value}: {outcome.explanation}{more}"
        )

    def _unknown(self, outcome: FrameOutcome) -> str:
        label, truth, counts = outcome.label, outcome.ground_truth, outcome.counts
        if label is None or truth is None or counts is None or not counts.unmapped:
            return ""
        # A label that was resized has had more pixels than were counted.
        share = counts.unmapped / max(truth.size, counts.unmapped)
        if share <= MOST_UNKNOWN or self._unknown_throttle.admit("") is None:
            return ""
        label_map = self._legends.label_map(label, self._label_map)
        return (
            f"label of {self._topics[Stream.LABEL]} at {label.stamp_ns / 1e9:.3f} s: {share:.0%} "
            f"of its pixels are not scored, label map {self._label_map.name} does not know "
            f"{unknown_labels(label.image, label_map)}"
        )
