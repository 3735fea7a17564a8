"""Many frames through the graph, or too many: memory, counts, and the account's identity.

    python bench/soak.py [--frames 20000] [--size 640x480]
    python bench/soak.py --overload 60 [--frame-ms 30] [--overflow drop_oldest]

The first keeps a few frames in flight until all are scored and prints the resident memory of each
process at 10 %, 50 % and 100 %, without the middleware's shared memory, whose size is fixed. The
second sends three times the frames that a slowed evaluator can take, asks a service ten times a
second, and prints what was lost, how old results became and how long answers took. Exit status 1 if
a bound is broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rclpy
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, MeanIoU
from graph import CLASSES, DEPTH, LATCHED, REPAIR_S, Source, process, use_profile, wait_for
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor

if TYPE_CHECKING:
    from rclpy.node import Node

NODE = "/deeplab_evaluator"
IN_FLIGHT = 8
GROWTH = 0.02
QUEUE = 8
ANSWER_S = 0.2
FACTOR = 3
# The evaluator as it is, with a device that takes its time.
SLOW = """
import sys, time
from dataclasses import replace
from deeplab_miou.nodes.evaluator import node as evaluator

frame_s = float(sys.argv.pop(1))
build = evaluator.build_engine

def build_slow(options):
    engine = build(options)

    def score(images, *others, **options):
        time.sleep(frame_s * len(images))
        return engine.predictor.score(images, *others, **options)

    return replace(engine, predictor=replace(engine.predictor, score=score, needs_worker=True))

evaluator.build_engine = build_slow
evaluator.main()
"""


class Graph:
    """What the nodes say."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.scores: list[tuple[int, str, float, float]] = []
        self.state: ConfusionMatrix | None = None
        self.result: MeanIoU | None = None
        node.create_subscription(FrameScore, f"{NODE}/frame", self._score, 1000)
        node.create_subscription(ConfusionMatrix, f"{NODE}/confusion", self._state, LATCHED)
        node.create_subscription(MeanIoU, "/miou_publisher/result", self._result, LATCHED)

    def _score(self, message: FrameScore) -> None:
        told = (
            message.header.stamp.sec,
            message.outcome,
            message.queue_seconds,
            time.monotonic(),
        )
        self.scores.append(told)

    def _state(self, message: ConfusionMatrix) -> None:
        self.state = message

    def _result(self, message: MeanIoU) -> None:
        self.result = message

    def settled(self, sent: int) -> bool:
        """Tell whether everything sent is accounted for, in both nodes."""
        state, result = self.state, self.result
        return (
            state is not None
            and result is not None
            and state.images.received == sent
            and not state.images.waiting
            and result.frames == state.frames
        )


def resident_mebibytes(pid: int) -> float:
    """Return the resident memory of a process, without the segments it shares with others."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssFile")) / 2**10


def show_account(state: ConfusionMatrix, sent: int) -> bool:
    """Print counts; tell whether the identity holds and everything sent was received."""
    holds = True
    for name, stream in (("images", state.images), ("labels", state.labels)):
        dropped = dict(zip(stream.reasons, stream.dropped, strict=True))
        identity = stream.received == stream.evaluated + stream.waiting + sum(stream.dropped)
        holds &= identity and stream.received == sent
        print(
            f"{name}: sent {sent}, received {stream.received}, evaluated {stream.evaluated}, "
            f"waiting {stream.waiting}, dropped {dropped or 'none'}; "
            f"identity {'holds' if identity else 'BROKEN'}"
        )
    return holds


def soak(graph: Graph, source: Source, pids: dict[str, int], frames: int) -> bool:
    """Send frames, a few at a time; print memory on the way."""
    marks = {max(1, round(frames * share)): share for share in (0.1, 0.5, 1.0)}
    resident: dict[str, list[float]] = {name: [] for name in pids}
    began_s = progress_s = time.monotonic()
    while source.sent < frames:
        waiting = source.sent - len(graph.scores)
        now_s = time.monotonic()
        # What a reliable writer lost is sent again when it writes again, else after 3 s.
        if waiting < IN_FLIGHT or (waiting < DEPTH and now_s > progress_s + REPAIR_S):
            source.send()
            progress_s = now_s
        else:
            time.sleep(0.0002)
        share = marks.pop(source.sent, None)
        if share is not None:
            for name, pid in pids.items():
                resident[name].append(resident_mebibytes(pid))
            sizes = "  ".join(f"{name} {sizes[-1]:.1f} MiB" for name, sizes in resident.items())
            print(f"{100 * share:3.0f} %  {sizes}", flush=True)
        source.sent_s.clear()
    wait_for(lambda: graph.settled(frames), "the account of all frames")
    took_s = time.monotonic() - began_s
    print(f"{frames} frames in {took_s:.0f} s, {frames / took_s:.0f} frames/s")
    fine = show_account(graph.state, frames)
    fine &= graph.result is not None and graph.result.frames == frames
    outcomes = {outcome for _, outcome, _, _ in graph.scores}
    fine &= outcomes == {"evaluated"} and len(graph.scores) == frames
    for name in ("evaluator", "publisher"):
        growth = resident[name][-1] / resident[name][0] - 1
        fine &= growth < GROWTH
        print(f"{name}: {100 * growth:+.2f} % after the first tenth, expected < {100 * GROWTH:g} %")
    return fine


def overload(
    graph: Graph, source: Source, pids: dict[str, int], options: argparse.Namespace
) -> bool:
    """Send three times what the evaluator takes."""
    frame_s = options.frame_ms / 1e3
    client = graph.node.create_client(GetParameters, f"{NODE}/get_parameters")
    wait_for(client.service_is_ready, "a service")
    answers_s: list[float] = []
    resident: list[float] = []
    ages_s: list[float] = []
    began_s = time.monotonic()
    asked_s = 0.0
    while (elapsed_s := time.monotonic() - began_s) < options.overload:
        if source.sent < elapsed_s * FACTOR / frame_s:
            source.send()
        if len(answers_s) < 10 * elapsed_s and time.monotonic() > asked_s + 0.1:
            asked_s = time.monotonic()
            future = client.call_async(GetParameters.Request())
            answered = threading.Event()
            future.add_done_callback(lambda _, answered=answered: answered.set())
            answered.wait(10)
            answers_s.append(time.monotonic() - asked_s)
            resident.append(resident_mebibytes(pids["evaluator"]))
        time.sleep(0.001)
    wait_for(lambda: graph.settled(source.sent), "the account of all frames")
    fine = show_account(graph.state, source.sent)
    for stamp, outcome, _, at_s in graph.scores:
        if outcome == "evaluated":
            ages_s.append(at_s - source.sent_s[stamp])
    queue_s = max(s for _, outcome, s, _ in graph.scores if outcome == "evaluated")
    # Those in the queue, and the one in work before them.
    bound_s = (QUEUE + 1) * frame_s
    median_s, p95_s = np.quantile(answers_s, [0.5, 0.95])
    tenth = resident[len(resident) // 10]
    growth = max(resident[len(resident) // 2 :]) / tenth - 1
    print(
        f"time in queue at most {1e3 * queue_s:.0f} ms, bound {1e3 * bound_s:.0f} ms; "
        f"from sending to result: median {1e3 * np.median(ages_s):.0f} ms, "
        f"longest {1e3 * max(ages_s):.0f} ms"
    )
    print(
        f"{len(answers_s)} service calls: median {1e3 * median_s:.1f} ms, "
        f"95th percentile {1e3 * p95_s:.1f} ms, longest {1e3 * max(answers_s):.0f} ms"
    )
    print(f"evaluator {tenth:.1f} MiB after a tenth, {100 * growth:+.1f} % at most since half time")
    # Scheduling on a busy machine may add a little to each frame.
    return fine and queue_s < 1.5 * bound_s and p95_s < ANSWER_S


def has_subscribers(node: Node, topic: str, least: int) -> bool:
    """Return whether so many listen to a topic."""
    return int(node.count_subscribers(topic)) >= least


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--overload", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--frame-ms", type=float, default=30.0, help="of the slowed evaluator")
    parser.add_argument("--overflow", default="drop_oldest", choices=("drop_oldest", "drop_newest"))
    parser.add_argument("--default-transport", action="store_true", help="no config/fastdds.xml")
    options = parser.parse_args()
    if not options.default_transport:
        use_profile()
    width, height = map(int, options.size.split("x"))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init()
    node = rclpy.create_node("source")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    command = ["-m", "deeplab_miou.nodes.evaluator"]
    if options.overload:
        command = ["-c", SLOW, str(options.frame_ms / 1e3)]
    parameters = {
        "source": "topic",
        "labels": "cityscapes_train_ids",
        "queue_size": QUEUE if options.overload else DEPTH,
        "overflow": options.overflow,
    }
    graph = Graph(node)
    with (
        tempfile.TemporaryDirectory() as reports,
        process(*command, parameters=parameters) as evaluator,
        process(
            "-m",
            "deeplab_miou.nodes.publisher",
            parameters={"report_directory": reports},
        ) as publisher,
    ):
        source = Source(node, "/camera", (width, height))
        wait_for(source.connected, "the evaluator")
        for topic in (f"{NODE}/frame", f"{NODE}/confusion"):
            wait_for(partial(node.count_publishers, topic), topic)
            wait_for(partial(has_subscribers, node, topic, 2), "the publisher")
        pids = {"evaluator": evaluator, "publisher": publisher, "source": os.getpid()}
        print(f"{CLASSES} classes, {options.size}", flush=True)
        if options.overload:
            fine = overload(graph, source, pids, options)
        else:
            fine = soak(graph, source, pids, options.frames)
    executor.shutdown()
    spinner.join(5)
    node.destroy_node()
    rclpy.try_shutdown()
    print("passed" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
