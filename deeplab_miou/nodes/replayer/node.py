"""Node bag_replayer: plays a rosbag2 with its recorded bytes, by the clock or by evaluators."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.nodes.replayer.command import (
    EXIT_DAMAGED,
    EXIT_INTERRUPTED,
    EXIT_LOSS,
    EXIT_OK,
    EXIT_USAGE,
    parser,
)
from deeplab_miou.nodes.replayer.evaluators import EvaluatorLinks
from deeplab_miou.nodes.replayer.graph import LinkError
from deeplab_miou.nodes.replayer.interrupts import Interrupts
from deeplab_miou.nodes.replayer.offers import LEAST_DEPTH, offer, playable_topics
from deeplab_miou.nodes.replayer.player import Player
from deeplab_miou.nodes.replayer.progress import ReplayProgress
from deeplab_miou.nodes.replayer.result import PublisherLink
from deeplab_miou.nodes.replayer.tags import StampedTags
from deeplab_miou.nodes.ros.command_line import parse_own
from deeplab_miou.nodes.ros.diagnostics import Diagnostics, make_status
from deeplab_miou.nodes.ros.executor import NodeExecutor
from deeplab_miou.nodes.ros.node_names import qualified
from deeplab_miou.nodes.ros.parameters import declare, read
from deeplab_miou.options.nodes import OPTION_NAMES
from deeplab_miou.options.replayer import ReplayerOptions
from deeplab_miou.pacing.flow import StallError
from deeplab_miou.pacing.summary import describe_losses, summarise
from deeplab_miou.tags.messages import TAG_TYPES
from deeplab_miou.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_NS = 1_000_000_000
_CLOCK = "/clock"
_POLL_S = 0.02
# A subscriber learns of us a little after we learn of it, and misses what was sent in between.
_SETTLE_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0
# The last status stays on pages and in viewers: they have this long to receive it.
_LAST_WORD_S = 1.0


class BagReplayer(Node):
    """Publishes what a bag holds.

    Args:
        bag: the parameter `bag`, if it came by the command line.
        interrupts: what may end the main thread's work.

    Attributes:
        settings: checked values of the parameters.

    Raises:
        ConfigurationError: a parameter cannot be used.
    """

    def __init__(self, bag: str | None, interrupts: Interrupts) -> None:
        given = [] if bag is None else [RosParameter("bag", RosParameter.Type.STRING, bag)]
        super().__init__("bag_replayer", parameter_overrides=given)
        declare(self, ReplayerOptions, elsewhere=OPTION_NAMES)
        self.settings = read(self, ReplayerOptions)
        if not self.settings.bag:
            raise ConfigurationError("no bag to play: name one, or set the parameter bag")
        self._played_s = 0.0
        self._tell_s = 0.0
        self._damage = ""
        clock_rate = self.settings.clock_rate
        self._player = Player(
            self.create_publisher(Clock, _CLOCK, LEAST_DEPTH) if clock_rate else None,
            clock_rate=clock_rate,
            rate=self.settings.rate,
            held_back=interrupts.held_back,
        )
        self._links: EvaluatorLinks | None = None
        if self.settings.paced:
            names = [qualified(self.get_namespace(), name) for name in self.settings.evaluators]
            if not names:
                raise ConfigurationError("a paced replay needs the parameter evaluators")
            self._links = EvaluatorLinks(
                self,
                names,
                in_flight=self.settings.in_flight,
                stall_timeout_s=self.settings.stall_timeout,
            )
        self._diagnostics = Diagnostics(self, "replay")
        self._publisher: PublisherLink | None = None
        if self.settings.publisher:
            name = qualified(self.get_namespace(), self.settings.publisher)
            self._publisher = PublisherLink(self, name)

    def play(self) -> int:
        """Play the bag as the parameters say, and check that all of it was counted.

        Returns:
            Exit status.

        Raises:
            ConfigurationError: no such bag or topic.
            BagError: nothing of the bag can be read.
            LinkError: a node that is needed is not there or fails.
            StallError: an evaluator does not get on.
        """
        path = Path(self.settings.bag)
        if not path.exists():
            raise ConfigurationError(f"bag {str(path)!r} does not exist")
        with BagReader(path) as reader:
            section = reader.section(self.settings.start, self.settings.duration or None)
            self._advertise(reader)
            self._wait_for_audience()
            began_s = time.monotonic()
            self._play_section(reader, *section)
        took_s = time.monotonic() - began_s
        report = self._save_report()
        tallies = self._player.flow.tallies() if self._player.flow is not None else {}
        summary = summarise(self._player.sent, tallies, played_s=self._played_s, took_s=took_s)
        sys.stdout.write("; ".join([summary, *report]) + "\n")
        sys.stdout.flush()
        losses = describe_losses(tallies)
        for line in losses:
            self.get_logger().error(line)
        if losses:
            return EXIT_LOSS
        return EXIT_DAMAGED if self._damage else EXIT_OK

    def explain(self, error: StallError) -> str:
        """Return why an evaluator has stalled, with what the graph shows."""
        gone = self._links.gone() if self._links is not None else ()
        return f"{error} (no longer in the graph: {', '.join(gone)})" if gone else str(error)

    def progress_text(self) -> str:
        """Return how much was done so far."""
        sent = plural(self._player.sent.total(), "message")
        return (
            sent
            if self._player.flow is None
            else f"{sent}, {plural(self._player.flow.done().frames, 'frame')} evaluated"
        )

    def _advertise(self, reader: BagReader) -> None:
        """Advertise the topics to play, without a recorded /clock, which we publish ourselves."""
        chosen = self.settings.topics or list(reader.topics)
        playable, left_out = playable_topics(reader, chosen)
        if left_out:
            problem = f"message types that are not installed: {', '.join(left_out)}"
            if self.settings.topics:
                raise ConfigurationError(f"topics cannot be played, {problem}")
            self.get_logger().warning(f"{plural(len(left_out), 'topic')} not played, {problem}")
        if self.settings.clock_rate:
            playable.pop(_CLOCK, None)
        if not any(reader.topics[topic].count for topic in playable):
            raise ConfigurationError(
                f"bag {str(reader.path)!r} holds no message that can be played"
            )
        paced, depth = self._links is not None, self.settings.in_flight
        for topic, kind in playable.items():
            recorded = reader.topics[topic].qos
            publisher = offer(self, topic, kind, recorded, paced=paced, depth=depth)
            self._player.offers[topic] = publisher
        if any(reader.topics[topic].type in TAG_TYPES for topic in playable):
            self._player.tags = StampedTags(self)

    def _wait_for_audience(self) -> None:
        timeout_s = self.settings.startup_timeout
        deadline_s = time.monotonic() + timeout_s
        if self._links is not None:
            self._player.flow = self._links.connect(self._player.offers, timeout_s)
        if self._publisher is not None:
            evaluators = self._links.names if self._links is not None else ()
            self._publisher.connect(evaluators, max(0.0, deadline_s - time.monotonic()))
        if self._links is not None:
            self._links.wait_for_listeners()
        for topic in self.settings.wait_for_subscribers:
            if topic not in self._player.offers:
                raise ConfigurationError(
                    f"parameter wait_for_subscribers has {topic!r}, expected topics that are "
                    f"played: {', '.join(self._player.offers)}"
                )
            while not self._player.offers[topic].get_subscription_count():
                if time.monotonic() >= deadline_s:
                    raise LinkError(f"nothing subscribes to {topic} after {timeout_s:g} s")
                time.sleep(_POLL_S)
        if self._player.flow is not None or self.settings.wait_for_subscribers:
            time.sleep(_SETTLE_S)
        if self._links is not None:
            self._links.warn_of_others(self._player.offers)

    def _play_section(self, reader: BagReader, start_ns: int, stop_ns: int) -> None:
        span_s = (stop_ns - start_ns) / _NS
        show = self.settings.progress
        with ReplayProgress(span_s, self.get_logger().info, shown=show) as progress:
            self._tell_earlier_tags(reader, start_ns)
            while True:
                try:
                    for played_s in self._player.play(
                        reader.messages(list(self._player.offers), start_ns, stop_ns), start_ns
                    ):
                        progress.update(played_s, self.progress_text)
                        self._tell(played_s, span_s)
                except BagError as error:
                    # It comes after all that can be read; a loop need not say it again.
                    if not self._damage:
                        self.get_logger().error(str(error))
                    self._damage = str(error)
                self._played_s += span_s
                self._tell(span_s, span_s)
                if not self.settings.loop:
                    break
            self._wait_until_counted()
            progress.end(span_s, self.progress_text)
        self._tell(span_s, span_s)
        self._diagnostics.wait_for_readers(_LAST_WORD_S)

    def _wait_until_counted(self) -> None:
        if self._links is not None and self._player.flow is not None:
            self._links.finish(self._player.flow)
        else:
            self._player.wait_for_acknowledgements()

    def _tell_earlier_tags(self, reader: BagReader, start_ns: int) -> None:
        """Publish the tags that apply when a section begins."""
        topics = [each for each in self._player.offers if reader.topics[each].type in TAG_TYPES]
        if self._player.tags is None or not topics:
            return
        # Damage is reported when the section is played.
        with suppress(BagError):
            for message in reader.messages(topics, None, start_ns):
                self._player.tags.play(message)

    def _tell(self, played_s: float, span_s: float) -> None:
        """Say in ``/diagnostics`` how far the replay is, once a second and at the end."""
        now_s = time.monotonic()
        if played_s < span_s and now_s < self._tell_s:
            return
        self._tell_s = now_s + _DIAGNOSTICS_PERIOD_S
        text = f"played {played_s:.1f} of {span_s:.1f} s, {self.progress_text()}"
        values = {"played (s)": f"{played_s:.3f}", "to play (s)": f"{span_s:.3f}"}
        level = DiagnosticStatus.WARN if self._damage else DiagnosticStatus.OK
        self._diagnostics.publish(make_status(level, self._damage or text, values))

    def _save_report(self) -> list[str]:
        """Have the report saved once it is complete; return what is said of it, if anything."""
        if self._publisher is None:
            return []
        timeout_s = self.settings.stall_timeout
        if self._player.flow is not None:
            self._publisher.wait_for(self._player.flow.done(), timeout_s)
        return [self._publisher.report_saver.call(timeout_s)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return its exit status.

    Args:
        args: command line without the program's name; None for that of the process.
    """
    given = list(sys.argv[1:] if args is None else args)
    bag = parse_own(parser(), ["bag_replayer", *given]).bag
    interrupts = Interrupts()
    interrupts.listen()
    try:
        rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
        node = BagReplayer(bag, interrupts)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  rclpy's argument errors have no common base
        sys.stderr.write(f"bag_replayer: {printable(str(error))}\n")
        rclpy.try_shutdown()
        return EXIT_USAGE
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        traceback.print_exception(type(error), error, error.__traceback__)
        failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    executor = NodeExecutor(node, 1, fail)
    executor.start()
    try:
        status = _play(node)
        return EXIT_LOSS if failures else status
    finally:
        interrupts.ignore()
        executor.stop()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _play(node: BagReplayer) -> int:
    try:
        return node.play()
    except KeyboardInterrupt:
        node.get_logger().info(f"interrupted: {node.progress_text()}")
        return EXIT_OK if node.settings.loop else EXIT_INTERRUPTED
    except ConfigurationError as error:
        node.get_logger().error(str(error))
        return EXIT_USAGE
    except BagError as error:
        node.get_logger().error(str(error))
        return EXIT_DAMAGED
    except LinkError as error:
        node.get_logger().error(str(error))
        return EXIT_LOSS
    except StallError as error:
        node.get_logger().error(node.explain(error))
        return EXIT_LOSS
