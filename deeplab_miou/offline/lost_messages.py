"""Counts what a recorder says it lost along with what is in the bag."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from deeplab_miou.accounting import Stream
from deeplab_miou.bags.lost_messages import read_lost_messages
from deeplab_miou.offline.plan import OUTSIDE
from deeplab_miou.text import quote

if TYPE_CHECKING:
    from deeplab_miou.bags.lost_messages import Loss
    from deeplab_miou.bags.reader import BagReader
    from deeplab_miou.offline.plan import Plan
    from deeplab_miou.offline.stamps import Stamps
    from deeplab_miou.options.offline import OfflineOptions

_END_OF_TIME = 2**63 - 1


def with_lost_messages(
    reader: BagReader, stamps: Stamps, planned: Plan, options: OfflineOptions
) -> Plan:
    """Return a plan that also knows what was lost while the bag was recorded.

    Args:
        reader: the open bag.
        stamps: of its messages.
        planned: what `plan` found in them.
        options: topics and section.
    """
    losses = read_lost_messages(reader, options.topics, _span(stamps, planned, options))
    names = dict(zip(Stream, options.topics, strict=True))
    lost = {
        stream: losses.of_topics[name] for stream, name in names.items() if name in losses.of_topics
    }
    findings = [_finding(names[stream], loss) for stream, loss in lost.items()]
    return replace(
        planned,
        lost={stream: loss.total for stream, loss in lost.items()},
        findings=[*findings, *losses.problems, *planned.findings],
    )


def _span(stamps: Stamps, planned: Plan, options: OfflineOptions) -> tuple[int, int] | None:
    """Return when the images of a section were recorded; None for all of the bag.

    A section without an end has all that follows: what is lost last is reported after that.
    """
    if not options.start and not options.duration:
        return None
    is_image = stamps.topic == stamps.topics.index(options.input_topic)
    times = stamps.recorded_ns[is_image & (planned.links.partners != OUTSIDE)]
    if not times.size:
        return 0, 0
    return int(np.min(times)), int(np.max(times)) + 1 if options.duration else _END_OF_TIME


def _finding(topic: str, loss: Loss) -> str:
    line = f"messages of topic {quote(topic)} lost while the bag was recorded: {loss}"
    if len(loss.recorders) == 1:
        return line
    named = ", ".join(map(quote, sorted(loss.recorders)))
    return f"{line}; several recorders report them ({named}), some may be missing from other bags"
