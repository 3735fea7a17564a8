"""The summary at the end of a replay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deeplab_miou.accounting import Reason
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.pacing.accounts import Tally


def describe_losses(tallies: Mapping[str, Tally]) -> list[str]:
    """Return a line for each thing that a paced replay must not let happen.

    Args:
        tallies: what each evaluator did, by its name.
    """
    losses = []
    for name, tally in tallies.items():
        if tally.restarts:
            losses.append(f"{name} was restarted: the frames that it held are lost")
        crowded_out = tally.images.dropped.get(Reason.QUEUE_FULL.value, 0)
        if crowded_out:
            losses.append(
                f"{name} dropped {plural(crowded_out, 'frame')} because its queue was full: "
                "was it unpaced for a while?"
            )
        if tally.foreign:
            losses.append(
                f"{name} received {plural(tally.foreign, 'message')} that other publishers sent, "
                "which its score contains: stop them, and replay again"
            )
    return losses


def summarise(
    sent: Mapping[str, int], tallies: Mapping[str, Tally], *, played_s: float, took_s: float
) -> str:
    """Return one line about what was played and with what outcome.

    Args:
        sent: messages sent, by topic.
        tallies: what each evaluator did, by its name.
        played_s: recorded seconds played.
        took_s: seconds that it took.
    """
    topics = ", ".join(f"{topic} {count}" for topic, count in sorted(sent.items()))
    speed = played_s / took_s if took_s else math.inf
    played = f"played {plural(sum(sent.values()), 'message')} ({topics or 'none'})"
    parts = [f"{played} in {took_s:.2f} s, {speed:.2f} x recorded speed"]
    for name, tally in tallies.items():
        note = f" (since the last of {plural(tally.resets, 'reset')})" if tally.resets else ""
        parts.append(
            f"{name}: {plural(tally.images.evaluated, 'frame')} evaluated{note}, dropped "
            f"{_dropped('image', tally.images)}, {_dropped('label', tally.labels)}"
        )
        if tally.foreign:
            parts.append(
                f"{plural(tally.foreign, 'message')} that it received came from other publishers"
            )
    return "; ".join(parts)


def _dropped(stream: str, counts: StreamCounts) -> str:
    if not counts.dropped:
        return f"no {stream}"
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.dropped.items()))
    return f"{plural(sum(counts.dropped.values()), stream)}: {reasons}"
