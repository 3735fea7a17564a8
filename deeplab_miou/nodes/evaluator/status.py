"""What ``deeplab_evaluator`` reports in ``/diagnostics``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus

from deeplab_miou.accounting import Reason, Stream
from deeplab_miou.evaluation.lost_labels import LostLabels
from deeplab_miou.metric.counts import DEPTH
from deeplab_miou.nodes.ros.diagnostics import make_status
from deeplab_miou.telemetry import Latencies, Rate
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeplab_miou.evaluation.outcomes import FrameOutcome
    from deeplab_miou.evaluation.pipeline import Pipeline

# Both streams arriving this long without a single pair means that their stamps do not agree.
_NO_PAIR_S = 10.0


class EvaluatorStatus:
    """Rates, latencies and the health that follows from them; thread-safe.

    Levels: ERROR when inference failed since the last report; WARN when frames were lost
    for a reason that a user can fix, when an input is not published, when labels find no image, or
    when both inputs arrive and nothing pairs; OK otherwise.

    Args:
        tolerance_ns: greatest difference of the two stamps of a pair.
    """

    def __init__(self, tolerance_ns: int = 0) -> None:
        self._lost_labels = LostLabels(tolerance_ns)
        self._began_s = time.monotonic()
        self._rates = {stream: Rate() for stream in Stream}
        self._evaluated = Rate()
        self._from_arrival = Latencies()
        self._from_stamp = Latencies()
        self._lost: dict[Reason, int] = {}
        self._last_error = ""

    def arrived(self, stream: Stream, stamp_ns: int | None) -> None:
        """Note a message that arrived, and its stamp if it could be read."""
        self._rates[stream].tick()
        if stamp_ns is not None:
            self._lost_labels.arrived(stream, stamp_ns)

    def reset(self) -> None:
        """Forget which labels found no image."""
        self._lost_labels.reset()

    def findings(self) -> str:
        """Return what labels without an image suggest; empty if nothing."""
        return "; ".join(self._lost_labels.findings())

    def ended(self, outcome: FrameOutcome, now_ns: int) -> None:
        """Note an outcome; `now_ns` is the node's clock, for the latency since the stamp."""
        if outcome.label is not None:
            self._lost_labels.ended(outcome.label.stamp_ns, outcome.reason)
        elif outcome.image is not None and outcome.reason is Reason.UNMATCHED_IMAGE:
            self._lost_labels.image_given_up(outcome.image.stamp_ns)
        if outcome.reason is not None:
            if not outcome.reason.is_normal:
                self._last_error = f"{outcome.reason.value}: {outcome.explanation}"
            return
        self._evaluated.tick()
        self._from_arrival.add(outcome.timing.latency_s)
        if outcome.image is not None:
            self._from_stamp.add((now_ns - outcome.image.stamp_ns) / 1e9)

    def report(
        self,
        pipeline: Pipeline,
        inputs: Mapping[str, str],
        missing: str,
        findings: str,
        device: Mapping[str, str],
    ) -> DiagnosticStatus:
        """Return level, one line and details; name and hardware are the caller's.

        Args:
            pipeline: what is reported on.
            inputs: how each input is subscribed.
            missing: what is not published though it should be; empty if all is.
            findings: what `findings` returned.
            device: facts on the device.
        """
        account = pipeline.run.account
        lost = {
            reason: max(
                each.dropped.get(reason.value, 0) for each in (account.images, account.labels)
            )
            for reason in Reason
            if not reason.is_normal
        }
        news = [r.value for r, n in lost.items() if n > self._lost.get(r, 0)]
        self._lost = lost
        both = min(account.images.received, account.labels.received)
        unpaired = (
            both > 0
            and account.images.evaluated == 0
            and not any(lost[r] for r in Reason if r in lost and r is not Reason.UNMATCHED_LABEL)
            and time.monotonic() - self._began_s > _NO_PAIR_S
        )
        frames = account.images.evaluated
        level, text = DiagnosticStatus.OK, f"{plural(frames, 'frame')} evaluated"
        if Reason.INFERENCE_FAILED.value in news:
            level, text = DiagnosticStatus.ERROR, f"inference failed: {self._last_error}"
        elif missing:
            level, text = DiagnosticStatus.WARN, missing
        elif findings:
            lost_too = f"frames lost: {', '.join(news)}; " if news else ""
            level, text = DiagnosticStatus.WARN, f"{lost_too}{findings}"
        elif unpaired:
            level = DiagnosticStatus.WARN
            text = "images and labels arrive but no stamps agree: see sync_tolerance"
        elif news:
            level, text = DiagnosticStatus.WARN, f"frames lost: {', '.join(news)}"
        values = self._values(pipeline) | dict(inputs) | dict(device)
        values["labels without an image"] = findings
        return make_status(level, text, values)

    def _values(self, pipeline: Pipeline) -> dict[str, str]:
        account = pipeline.run.account
        values = {}
        for name, counts in (("images", account.images), ("labels", account.labels)):
            values[f"{name} received"] = str(counts.received)
            values[f"{name} evaluated"] = str(counts.evaluated)
            values[f"{name} waiting"] = str(counts.waiting)
            for reason in Reason:
                values[f"{name} {reason.value}"] = str(counts.dropped.get(reason.value, 0))
        held = pipeline.held
        arrival, stamp = self._from_arrival.quantiles(), self._from_stamp.quantiles()
        return values | {
            "image rate (Hz)": f"{self._rates[Stream.IMAGE].hertz():.2f}",
            "label rate (Hz)": f"{self._rates[Stream.LABEL].hertz():.2f}",
            "evaluated rate (Hz)": f"{self._evaluated.hertz():.2f}",
            "latency from arrival, median (ms)": f"{arrival.median_s * 1e3:.1f}",
            "latency from arrival, 95th percentile (ms)": f"{arrival.p95_s * 1e3:.1f}",
            "latency from stamp, median (ms)": f"{stamp.median_s * 1e3:.1f}",
            "latency from stamp, 95th percentile (ms)": f"{stamp.p95_s * 1e3:.1f}",
            "pairs in queue": str(len(pipeline.queue)),
            "images held": str(held[Stream.IMAGE]),
            "labels held": str(held[Stream.LABEL]),
            "memory held (MiB)": f"{pipeline.held_bytes / 2**20:.1f}",
            "last error": self._last_error,
        }


def depth_values(pipeline: Pipeline) -> dict[str, str]:
    """Return what became of depth, for people; nothing without depth regions."""
    run = pipeline.run.snapshot()
    if not len(run.counts.depth):
        return {}
    counts = dict(zip(DEPTH, run.counts.depth.tolist(), strict=True))
    return {
        "depth images received": str(run.depth_images),
        "pairs waiting for a depth image": str(pipeline.without_depth),
        **{name.replace("_", " "): str(count) for name, count in counts.items()},
    }
