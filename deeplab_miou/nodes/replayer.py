"""Node bag_replayer: plays a rosbag2 with its recorded bytes, by the clock or by evaluators."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock

from deeplab_miou.bags.reader import BagReader
from deeplab_miou.errors import BagError, ConfigurationError
from deeplab_miou.nodes.evaluator_link import EvaluatorLinks, LinkError, PublisherLink, qualified
from deeplab_miou.nodes.offers import LEAST_DEPTH, message_class, offered_profile
from deeplab_miou.nodes.parameters import declare, read
from deeplab_miou.nodes.replay_options import (
    EXIT_DAMAGED,
    EXIT_INTERRUPTED,
    EXIT_LOSS,
    EXIT_OK,
    EXIT_USAGE,
    PARAMETERS,
    parser,
)
from deeplab_miou.nodes.replay_progress import ReplayProgress
from deeplab_miou.pacing.flow import StallError
from deeplab_miou.pacing.timeline import Ticks, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.publisher import Publisher

    from deeplab_miou.accounting import StreamCounts
    from deeplab_miou.bags.records import BagMessage
    from deeplab_miou.pacing.flow import FlowControl

_NS = 1_000_000_000
_CLOCK = "/clock"
_POLL_S = 0.02
# A subscriber learns of us a little after we learn of it, and misses what was sent in between.
_SETTLE_S = 0.5
_ACKNOWLEDGE_LIMIT_S = 5.0


class BagReplayer(Node):
    """Publishes what a bag holds.

    Args:
        bag: the parameter `bag`, if it came by the command line.

    Raises:
        ConfigurationError: a parameter cannot be used.
    """

    def __init__(self, bag: str | None = None) -> None:
        given = [] if bag is None else [RosParameter("bag", RosParameter.Type.STRING, bag)]
        super().__init__("bag_replayer", parameter_overrides=given)
        declare(self, PARAMETERS)
        self._settings = read(self, PARAMETERS)
        if not self._settings["bag"]:
            raise ConfigurationError("no bag to play: name one, or set the parameter bag")
        self._offers: dict[str, Publisher] = {}
        self._sent: Counter[str] = Counter()
        self._played_s = 0.0
        self._damage = ""
        self._clock_publisher: Publisher | None = None
        if self._settings["clock_rate"]:
            self._clock_publisher = self.create_publisher(
                Clock, _CLOCK, QoSProfile(depth=LEAST_DEPTH)
            )
        self._links: EvaluatorLinks | None = None
        self._flow: FlowControl | None = None
        if self._settings["paced"]:
            names = [qualified(self.get_namespace(), name) for name in self._settings["evaluators"]]
            if not names:
                raise ConfigurationError("a paced replay needs evaluators, the parameter is empty")
            self._links = EvaluatorLinks(
                self,
                names,
                in_flight=self._settings["in_flight"],
                stall_timeout_s=self._settings["stall_timeout"],
            )
        self._publisher: PublisherLink | None = None
        if self._settings["publisher"]:
            name = qualified(self.get_namespace(), self._settings["publisher"])
            self._publisher = PublisherLink(self, name)

    @property
    def loops(self) -> bool:
        """Whether only an interruption ends the replay."""
        return bool(self._settings["loop"])

    def play(self) -> int:
        """Play the bag as the parameters say, and see to it that all of it was counted.

        Returns:
            Exit status.

        Raises:
            ConfigurationError: no such bag or topic.
            BagError: nothing of the bag can be read.
            LinkError: a node that is needed is not there or fails.
            StallError: an evaluator does not get on.
        """
        path = Path(self._settings["bag"])
        if not path.exists():
            raise ConfigurationError(f"bag {str(path)!r} does not exist")
        with BagReader(path) as reader:
            start_ns, stop_ns = self._range(reader)
            self._advertise(reader)
            self._wait_for_audience()
            began_s = time.monotonic()
            self._play_range(reader, start_ns, stop_ns)
        if self._links is not None and self._flow is not None:
            self._links.finish(self._flow)
        else:
            self._wait_for_acknowledgements()
        took_s = time.monotonic() - began_s
        report = self._save_report()
        losses = self._losses()
        sys.stdout.write(self._summary(took_s, report) + "\n")
        sys.stdout.flush()
        for line in losses:
            self.get_logger().error(line)
        if losses:
            return EXIT_LOSS
        return EXIT_DAMAGED if self._damage else EXIT_OK

    def explain(self, error: StallError) -> str:
        """Return why an evaluator does not get on, with what the graph adds to it."""
        gone = self._links.gone() if self._links is not None else ()
        return f"{error} (no longer in the graph: {', '.join(gone)})" if gone else str(error)

    def progress_text(self) -> str:
        """Return how much was done so far."""
        sent = f"{self._sent.total()} messages"
        return (
            sent if self._flow is None else f"{sent}, {self._flow.done().frames} frames evaluated"
        )

    def _range(self, reader: BagReader) -> tuple[int, int]:
        start_s = self._settings["start"]
        duration_s = self._settings["duration"]
        length_s = reader.duration_ns / _NS
        if start_s > length_s:
            raise ConfigurationError(
                f"parameter start is {start_s:g}, expected at most the bag's {length_s:.3f} s"
            )
        start_ns = reader.start_ns + round(start_s * _NS)
        stop_ns = reader.start_ns + reader.duration_ns + 1
        if duration_s:
            stop_ns = min(stop_ns, start_ns + round(duration_s * _NS))
        return start_ns, stop_ns

    def _advertise(self, reader: BagReader) -> None:
        chosen = self._settings["topics"] or list(reader.topics)
        left_out = []
        paced = self._links is not None
        for topic in chosen:
            info = reader.require(topic)
            kind = message_class(info.type) if info.serialization == "cdr" else None
            if kind is None:
                left_out.append(f"{topic} ({info.type}, {info.count} messages)")
            elif topic != _CLOCK or self._clock_publisher is None:
                policies = (
                    QoSPolicyKind.RELIABILITY,
                    QoSPolicyKind.DURABILITY,
                    QoSPolicyKind.HISTORY,
                    QoSPolicyKind.DEPTH,
                )
                depth = max(LEAST_DEPTH, self._settings["in_flight"])
                self._offers[topic] = self.create_publisher(
                    kind,
                    topic,
                    offered_profile(info.qos, reliable=paced, depth=depth),
                    # What is paced must arrive: there the profile is not the user's to weaken.
                    qos_overriding_options=None if paced else QoSOverridingOptions(policies),
                )
        if left_out:
            problem = f"message types that are not installed: {', '.join(left_out)}"
            if self._settings["topics"]:
                raise ConfigurationError(f"topics cannot be played, {problem}")
            self.get_logger().warning(f"{len(left_out)} topic(s) are not played, {problem}")
        if not any(reader.topics[topic].count for topic in self._offers):
            raise ConfigurationError(
                f"bag {str(reader.path)!r} holds no message that can be played"
            )

    def _wait_for_audience(self) -> None:
        timeout_s = self._settings["startup_timeout"]
        deadline_s = time.monotonic() + timeout_s
        if self._links is not None:
            self._flow = self._links.connect(self._offers, timeout_s)
        if self._publisher is not None:
            evaluators = self._links.names if self._links is not None else ()
            self._publisher.connect(evaluators, max(0.0, deadline_s - time.monotonic()))
        for topic in self._settings["wait_for_subscribers"]:
            if topic not in self._offers:
                raise ConfigurationError(
                    f"parameter wait_for_subscribers has {topic!r}, expected topics that are "
                    f"played: {', '.join(self._offers)}"
                )
            while not self._offers[topic].get_subscription_count():
                if time.monotonic() >= deadline_s:
                    raise LinkError(f"nobody subscribes to {topic} after {timeout_s:g} s")
                time.sleep(_POLL_S)
        if self._flow is not None or self._settings["wait_for_subscribers"]:
            time.sleep(_SETTLE_S)

    def _play_range(self, reader: BagReader, start_ns: int, stop_ns: int) -> None:
        span_s = (stop_ns - start_ns) / _NS
        show = self._settings["progress"]
        with ReplayProgress(span_s, self.get_logger().info, shown=show) as progress:
            while True:
                rate = math.inf if self._flow is not None else self._settings["rate"]
                timeline = Timeline(start_ns, rate, time.monotonic())
                ticks = Ticks(self._settings["clock_rate"])
                try:
                    for message in reader.messages(list(self._offers), start_ns, stop_ns):
                        self._publish(message, timeline, ticks)
                        played_s = (message.timestamp_ns - start_ns) / _NS
                        progress.update(played_s, self.progress_text)
                except BagError as error:
                    # It comes after all that can be read; a loop need not say it again.
                    if not self._damage:
                        self.get_logger().error(str(error))
                    self._damage = str(error)
                self._played_s += span_s
                if not self.loops:
                    return

    def _publish(self, message: BagMessage, timeline: Timeline, ticks: Ticks) -> None:
        if self._flow is not None:
            if ticks.due(message.timestamp_ns / _NS):
                self._publish_clock(message.timestamp_ns)
            self._flow.acquire(message.topic)
        else:
            due_s = timeline.due_s(message.timestamp_ns)
            while (now_s := time.monotonic()) < due_s:
                if ticks.due(now_s):
                    self._publish_clock(timeline.recorded_ns(now_s))
                time.sleep(max(0.0, min(due_s, ticks.next_s) - time.monotonic()))
            if ticks.due(now_s):
                self._publish_clock(message.timestamp_ns)
        self._offers[message.topic].publish(message.data)
        self._sent[message.topic] += 1

    def _wait_for_acknowledgements(self) -> None:
        """Wait until subscribers have what was sent; seconds, so only where nothing else tells."""
        limit_s = time.monotonic() + _ACKNOWLEDGE_LIMIT_S
        for offer in self._offers.values():
            # In short pieces, because rclpy waits without releasing the interpreter.
            while not offer.wait_for_all_acked(Duration(nanoseconds=1_000_000)):
                if time.monotonic() >= limit_s:
                    return
                time.sleep(_POLL_S)

    def _publish_clock(self, recorded_ns: int) -> None:
        if self._clock_publisher is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(recorded_ns, _NS)
            self._clock_publisher.publish(message)

    def _save_report(self) -> str:
        if self._publisher is None:
            return ""
        timeout_s = self._settings["stall_timeout"]
        if self._flow is not None:
            self._publisher.wait_for(self._flow.done(), timeout_s)
        return self._publisher.save_report(timeout_s)

    def _losses(self) -> list[str]:
        """Return a line for each thing that a paced replay must not let happen."""
        losses = []
        for name, tally in (self._flow.tallies() if self._flow is not None else {}).items():
            if tally.restarts:
                losses.append(f"{name} was restarted: the frames that it held are lost")
            crowded_out = tally.images.dropped.get("queue_full", 0)
            if crowded_out:
                losses.append(
                    f"{name} dropped {crowded_out} frames because its queue was full: set its "
                    "parameter overflow to block, or in_flight to less than its queue holds"
                )
        return losses

    def _summary(self, took_s: float, report: str) -> str:
        topics = ", ".join(f"{topic} {count}" for topic, count in sorted(self._sent.items()))
        speed = self._played_s / took_s if took_s else math.inf
        played = f"played {self._sent.total()} messages ({topics or 'none'})"
        parts = [f"{played} in {took_s:.2f} s, {speed:.2f} x recorded speed"]
        for name, tally in (self._flow.tallies() if self._flow is not None else {}).items():
            note = f" (since its last of {tally.resets} resets)" if tally.resets else ""
            parts.append(
                f"{name}: {tally.images.evaluated} frames evaluated{note}, dropped "
                f"{_dropped('image', tally.images)}, {_dropped('label', tally.labels)}"
            )
            if tally.surplus:
                parts.append(f"{tally.surplus} messages that it received came from somebody else")
        return "; ".join([*parts, *([report] if report else [])])


def _dropped(stream: str, counts: StreamCounts) -> str:
    if not counts.dropped:
        return f"no {stream}"
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.dropped.items()))
    return f"{sum(counts.dropped.values())} {stream}(s): {reasons}"


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; return its exit status.

    Args:
        args: command line without the program's name; None for that of the process.
    """
    given = list(sys.argv[1:] if args is None else args)
    bag = parser().parse_args(remove_ros_args(["bag_replayer", *given])[1:]).bag
    # Both end the replay as an exception in the main thread, wherever it waits.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
        node = BagReplayer(bag)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001  rclpy's argument errors have no common base
        sys.stderr.write(f"bag_replayer: {' '.join(str(error).split())}\n")
        rclpy.try_shutdown()
        return EXIT_USAGE
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=_spin, args=(executor,), name="executor")
    spinner.start()
    try:
        return _play(node)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        executor.shutdown()
        spinner.join()
        node.destroy_node()
        rclpy.try_shutdown()


def _play(node: BagReplayer) -> int:
    try:
        return node.play()
    except KeyboardInterrupt:
        node.get_logger().info(f"interrupted: {node.progress_text()}")
        return EXIT_OK if node.loops else EXIT_INTERRUPTED
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


def _spin(executor: SingleThreadedExecutor) -> None:
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()


if __name__ == "__main__":
    sys.exit(main())
