"""The node ``miou_comparer``: two evaluators in, their difference out."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from std_srvs.srv import Trigger

from deeplab_miou.comparison.duel import Duel
from deeplab_miou.comparison.files import write_comparison
from deeplab_miou.comparison.snapshot import decided_line, summarise
from deeplab_miou.errors import ConfigurationError, DeeplabMiouError
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.nodes.comparer.inputs import ComparerInputs
from deeplab_miou.nodes.comparer.outputs import ComparerOutputs, headline
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.lifecycle.managed import ManagedNode
from deeplab_miou.nodes.ros.node_names import check_node_name, qualified
from deeplab_miou.options.comparer import ComparerOptions
from deeplab_miou.report.files import check_directory
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.service import Service
    from rclpy.timer import Timer

    from deeplab_miou.comparison.difference import Difference
    from deeplab_miou.comparison.snapshot import DuelSnapshot

_DIAGNOSTICS_PERIOD_S = 1.0
_HEADLINE_PERIOD_S = 10.0


class MiouComparer(ManagedNode[ComparerOptions]):
    """Publishes how evaluator B differs from evaluator A; all logic is in `comparison`."""

    # `configure` makes these and `cleanup` takes them away: in between they are not there.
    _duel: Duel
    _outputs: ComparerOutputs

    def __init__(self) -> None:
        super().__init__("miou_comparer", ComparerOptions)
        self._changed = threading.Event()
        self._found: tuple[DuelSnapshot, Difference | None] | None = None
        self._told_s = 0.0
        self._told_frames = 0
        self._report_error = ""
        self._inputs: ComparerInputs | None = None
        self._timers_running: list[Timer] = []
        self._own_services: list[Service] = []

    # Transitions.

    def configure(self) -> None:
        """Start from zero; make publishers and services."""
        settings = self.settings
        for parameter in ("evaluator_a", "evaluator_b"):
            check_node_name(self.get_namespace(), getattr(settings, parameter), parameter)
        a, b = self._evaluators()
        if a == b:
            raise ConfigurationError(
                f"evaluator_a and evaluator_b are both {a!r}: name two evaluators"
            )
        if settings.report_directory:
            check_directory(settings.report_directory)
        self._duel = Duel(
            margin=settings.margin,
            absent_classes=settings.absent_classes,
            label_map=load_label_map(settings.labels) if settings.labels else None,
        )
        self._found = None
        self._told_s, self._told_frames, self._report_error = time.monotonic(), 0, ""
        self._outputs = ComparerOutputs(self)
        self._own_services = [
            self.create_own_service(Trigger, "~/reset", self._reset, self.transition_group),
            self.create_report_service(self._write_report, self.transition_group),
        ]

    def activate(self) -> None:
        """Subscribe and publish."""
        self._inputs = ComparerInputs(
            self, self._duel, on_news=self._changed.set, on_error=self.fail
        )
        self._inputs.open(self._evaluators(), predictions=self.settings.compare_predictions)
        self._changed.set()
        self._timers_running = [
            self.create_steady_timer(
                self.settings.publish_period, self._publish, self.transition_group
            ),
            self.create_steady_timer(_DIAGNOSTICS_PERIOD_S, self._diagnose, self.transition_group),
        ]

    def deactivate(self) -> None:
        """Unsubscribe and publish what has been counted; counts are kept."""
        while self._timers_running:
            self.destroy_timer(self._timers_running.pop())
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if hasattr(self, "_outputs"):
            self._publish()

    def cleanup(self) -> None:
        """Forget all counts."""
        while self._own_services:
            self.destroy_service(self._own_services.pop())
        if hasattr(self, "_outputs"):
            self._outputs.destroy()
            del self._outputs
        if hasattr(self, "_duel"):
            del self._duel

    def finish(self) -> None:
        """Log the difference and write the report."""
        found, difference = self._read()
        if difference is not None and found.frames:
            self.get_logger().info(headline(found, difference))
        if not self.settings.report_directory:
            return
        if difference is not None:
            self.get_logger().info(self._write_report())
        else:
            self.get_logger().warning("nothing was compared, so no report is written")

    def may_stop(self) -> bool:
        """Wait for the last outcomes of evaluators that end at the same time."""
        return self.state_label != "active" or not any(
            self.count_publishers(f"{name}/frame") for name in self._evaluators()
        )

    def _evaluators(self) -> tuple[str, str]:
        settings, namespace = self.settings, self.get_namespace()
        a, b = (qualified(namespace, each) for each in (settings.evaluator_a, settings.evaluator_b))
        return a, b

    # Timers.

    def _read(self) -> tuple[DuelSnapshot, Difference | None]:
        """Return the newest comparison; resampled only if something has come."""
        if self._found is None or self._changed.is_set():
            self._changed.clear()
            found = self._duel.snapshot()
            self._found = (
                found,
                found.difference(self.settings.margin, self.settings.absent_classes),
            )
        return self._found

    def _publish(self) -> None:
        if self._changed.is_set():
            self._outputs.comparison(*self._read())

    def _diagnose(self) -> None:
        if self._found is None:
            return
        found, difference = self._found
        self._outputs.diagnostics(found, difference, self._report_error)
        is_due = time.monotonic() - self._told_s >= _HEADLINE_PERIOD_S
        if difference is not None and is_due and found.frames != self._told_frames:
            self._told_frames, self._told_s = found.frames, time.monotonic()
            line = headline(found, difference)
            if found.decision is not None:
                line += f"; {decided_line(found.decision)}"
            self.get_logger().info(line)

    # Services.

    def _reset(self, _request: object, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = f"{plural(self._duel.reset(), 'frame')} forgotten"
        self._changed.set()
        self.get_logger().info(f"reset: {response.message}")
        return response

    def _write_report(self) -> str:
        """Write the report and say where."""
        directory = self.settings.report_directory
        if not directory:
            raise ConfigurationError("no report: parameter report_directory is not set")
        found, difference = self._read()
        if difference is None:
            raise ConfigurationError(f"no report: {found.note or 'nothing was compared yet'}")
        try:
            path = write_comparison(summarise(found, difference), directory)[0]
        except DeeplabMiouError as error:
            self._report_error = str(error)
            raise
        self._report_error = ""
        return f"report written to {path}"


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    process.main_alone(
        "miou_comparer",
        MiouComparer,
        "Compare two evaluators frame by frame and publish the difference with its interval.",
        args,
    )
