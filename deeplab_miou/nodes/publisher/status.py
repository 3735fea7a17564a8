"""What ``miou_publisher`` reports in ``/diagnostics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus

from deeplab_miou.nodes.ros.diagnostics import make_status
from deeplab_miou.report.wording import format_score
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deeplab_miou.aggregation.results import Totals
    from deeplab_miou.report.judging import Judgement


class PublisherStatus:
    """Level, line and details of a status.

    Levels: ERROR when the last report could not be written; WARN when no evaluator is heard, when
    since the last diagnostics messages were refused or outcomes of frames went missing, or when
    the score is doubtful; OK else.
    """

    def __init__(self) -> None:
        self.report_error = ""
        self._refused = 0
        self._missing = 0

    def report(
        self,
        totals: Totals,
        miou: float,
        ages: Mapping[str, float],
        refused: Mapping[str, int],
        silence: str,
        *,
        tag_doubts: Sequence[str] = (),
    ) -> DiagnosticStatus:
        """Return level, one line and details.

        Args:
            totals: what has been counted.
            miou: of these; NaN if nothing was.
            ages: seconds since each evaluator was last heard.
            refused: messages refused, by kind.
            silence: what is not heard though it should be; empty if all is.
            tag_doubts: what makes it doubtful which frames have which tag.
        """
        refused_now = sum(refused.values())
        news = []
        if refused_now > self._refused:
            news.append(f"{plural(refused_now - self._refused, 'message')} refused")
        if totals.missing_frames > self._missing:
            lost = totals.missing_frames - self._missing
            news.append(f"{plural(lost, 'frame outcome')} missing from window and intervals")
        self._refused, self._missing = refused_now, totals.missing_frames
        doubts = [*totals.doubts, *tag_doubts]
        if self.report_error:
            level, text = DiagnosticStatus.ERROR, self.report_error
        elif silence or news or doubts:
            level = DiagnosticStatus.WARN
            text = silence or ", ".join(news) or "; ".join(doubts)
        else:
            count = len(totals.sources)
            level = DiagnosticStatus.OK
            text = (
                f"mIoU {format_score(miou)}, {plural(totals.counts.frames, 'frame')} of "
                f"{plural(count, 'evaluator')}"
            )
        values = {
            "mIoU": format_score(miou),
            "frames": totals.counts.frames,
            "missing frames": totals.missing_frames,
            "sources": ", ".join(totals.sources),
            "images received": totals.account.images.received,
            "images waiting": totals.account.images.waiting,
            "labels received": totals.account.labels.received,
            "labels waiting": totals.account.labels.waiting,
            "age of the newest state (s)": f"{min(ages.values()):.1f}" if ages else "",
            **{f"age of {source} (s)": f"{age:.1f}" for source, age in sorted(ages.items())},
            "messages refused": refused_now,
            **{f"refused: {kind}": number for kind, number in sorted(refused.items())},
        }
        return make_status(level, text, values)


def criteria_status(judgements: Sequence[Judgement]) -> DiagnosticStatus:
    """Return OK if all criteria are met, else WARN and those that are not (yet)."""
    checked = [each for each in judgements if each.passed is not None]
    missed = [each.line for each in checked if not each.passed]
    return make_status(
        DiagnosticStatus.WARN if missed else DiagnosticStatus.OK,
        f"not met: {'; '.join(missed)}" if missed else f"all {len(checked)} criteria are met",
        {
            each.criterion.title: ("met: " if each.passed else "not met: ") + each.found
            for each in checked
        },
    )
