"""Frames per second and latency through the whole graph, against a bare rclpy subscriber.

The network is null: predictions are precomputed and arrive on the image topic (``source: topic``),
so what is left is the middleware, the interpreter and the counting. This process publishes images
and labels as serialized bytes, at most `--in-flight` frames at a time, to

* ``bare``: one process with two subscriptions whose callbacks note the stamp and nothing else;
* ``bare, memory kept``: the same with glibc told by the environment not to give freed memory back
  to the system, as `deeplab_evaluator` tells it by itself: the pages of each message cost more than
  its bytes, and whether they are given back is chance otherwise;
* ``evaluator``: `deeplab_evaluator`, until its `FrameScore` is back here;
* ``graph``: the same with `miou_publisher` listening,

in turn, round after round, so that all see the same machine. Ratios are taken within a round: to
the bare subscriber as it comes, and to the best, the faster of the two in the round.

    python bench/graph.py [--seconds 3] [--rounds 5] [--sizes 640x480 2048x1024]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import mmap
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rclpy
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from deeplab_miou.memory import keep_freed_memory
from deeplab_miou.nodes.ros.rclpy_private import take
from deeplab_miou.nodes.ros.receiver import receiving_group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from rclpy.node import Node
    from rclpy.publisher import Publisher

CLASSES = 19
POOL = 8
TIMEOUT_S = 60.0
DEPTH = 50
REPAIR_S = 0.05
QOS = QoSProfile(depth=DEPTH)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RING = 1024
_STAMP_OFFSET = 4  # after the encapsulation header
_KEPT = {"MALLOC_TRIM_THRESHOLD_": str(1 << 29), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
BARE = {"bare": {}, "bare, memory kept": _KEPT}


class Arrivals:
    """What the bare subscriber has received, in memory that both processes see.

    Two counters, then the arrival time of each frame's second message by stamp modulo the ring.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(16 + 8 * _RING))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def note(self, stream: int, stamp: int) -> None:
        """Count a message of stream 0 or 1."""
        struct.pack_into("d", self._map, 16 + 8 * (stamp % _RING), time.monotonic())
        (count,) = struct.unpack_from("q", self._map, 8 * stream)
        struct.pack_into("q", self._map, 8 * stream, count + 1)

    def frames(self) -> int:
        """Return how many frames have arrived whole; frames arrive in order."""
        return int(min(struct.unpack_from("qq", self._map, 0)))

    def time_of(self, stamp: int) -> float:
        """Return when a frame's last message arrived."""
        (arrived_s,) = struct.unpack_from("d", self._map, 16 + 8 * (stamp % _RING))
        return float(arrived_s)


def bare(path: str) -> None:
    """Subscribe to both topics of the file's name and do nothing."""
    arrivals = Arrivals(Path(path))
    name = Path(path).name
    rclpy.init()
    node = rclpy.create_node(name)
    node.create_subscription(
        Image, f"/{name}/image", lambda message: arrivals.note(0, message.header.stamp.sec), QOS
    )
    node.create_subscription(
        Image, f"/{name}/labels", lambda message: arrivals.note(1, message.header.stamp.sec), QOS
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with contextlib.suppress(KeyboardInterrupt):
        executor.spin()


class Source:
    """Publishes frames and learns what became of them."""

    def __init__(self, node: Node, prefix: str, size: tuple[int, int]) -> None:
        self._image = node.create_publisher(Image, f"{prefix}/image", QOS)
        self._labels = node.create_publisher(Image, f"{prefix}/labels", QOS)
        self._pool = [frame(size, seed) for seed in range(POOL)]
        self.sent = 0
        self.sent_s: dict[int, float] = {}

    @property
    def publishers(self) -> tuple[Publisher, Publisher]:
        """Both publishers."""
        return self._image, self._labels

    def connected(self) -> bool:
        """Tell whether somebody listens to both topics."""
        return all(publisher.get_subscription_count() for publisher in self.publishers)

    def send(self) -> int:
        """Send the next frame and return its stamp."""
        self.sent += 1
        image, labels = self._pool[self.sent % POOL]
        for data in (image, labels):
            restamp(data, self.sent)
        self.sent_s[self.sent] = time.monotonic()
        self._image.publish(image)
        self._labels.publish(labels)
        return self.sent


def restamp(data: bytes, stamp: int) -> None:
    """Set the seconds of a serialized message in place, which nobody else holds.

    rclpy publishes bytes only; a copy for every frame would keep a core busy that the receivers
    need.
    """
    address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
    assert address is not None
    ctypes.memmove(address + _STAMP_OFFSET, struct.pack("<i", stamp), 4)


def frame(size: tuple[int, int], seed: int) -> tuple[bytes, bytes]:
    """Return a prediction and a label, serialized: they disagree along borders and in one blob."""
    width, height = size
    random = np.random.default_rng(seed)
    blobs = random.integers(0, CLASSES, (height // 40 + 1, width // 40 + 1), np.uint8)
    truth = np.kron(blobs, np.ones((40, 40), np.uint8))[:height, :width].copy()
    guess = np.roll(truth, (2, 3), axis=(0, 1))
    guess[: height // 8, : width // 8] = random.integers(CLASSES)
    truth[-height // 16 :] = 255
    return serialized(guess.astype(np.uint8)), serialized(truth)


def serialized(ids: NDArray[np.uint8]) -> bytes:
    """Return a mono8 image message as bytes."""
    message = Image(height=ids.shape[0], width=ids.shape[1], step=ids.shape[1], encoding="mono8")
    message.data.frombytes(ids.tobytes())
    return bytes(serialize_message(message))


@dataclass(frozen=True)
class Round:
    """One measurement: frames per second, latencies and processor time of a frame in ms."""

    rate: float
    median_ms: float
    p95_ms: float
    cpu_ms: float
    source_ms: float


def measure(source: Source, received: Received, seconds: float, in_flight: int) -> Round:
    """Keep frames in flight for a while and count what comes back."""
    for warm in (True, False):
        began_s, first, cpu_s = time.monotonic(), received.frames(), received.cpu_s()
        source_s = time.process_time()
        received.latencies_s.clear()
        progress_s = began_s
        while (now_s := time.monotonic()) < began_s + (0.3 if warm else seconds):
            waiting = source.sent - received.frames()
            # What a reliable writer lost is sent again when it writes again, else after 3 s.
            if waiting < in_flight or (waiting < DEPTH and now_s > progress_s + REPAIR_S):
                source.send()
                progress_s = now_s
            else:
                time.sleep(0.0001)
        frames, cpu_s = received.frames() - first, received.cpu_s() - cpu_s
        source_s = time.process_time() - source_s
    deadline_s = time.monotonic() + TIMEOUT_S
    while received.frames() < source.sent:
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{source.sent} frames were sent, {received.frames()} came back")
        time.sleep(0.001)
    if not frames:
        raise SystemExit(f"no frame came back within {seconds} s")
    median_s, p95_s = np.quantile(received.collect(), [0.5, 0.95])
    return Round(
        frames / (now_s - began_s),
        median_s * 1e3,
        p95_s * 1e3,
        1e3 * cpu_s / frames,
        1e3 * source_s / frames,
    )


class Received:
    """What came back of the frames of a source."""

    def __init__(self, source: Source, pids: list[int]) -> None:
        self._source = source
        self.pids = pids
        self.latencies_s: list[float] = []

    def frames(self) -> int:
        """Return how many came back since the beginning."""
        raise NotImplementedError

    def collect(self) -> list[float]:
        """Return the latencies of the round."""
        return self.latencies_s

    def cpu_s(self) -> float:
        """Return the processor time that the receiving processes have used."""
        return sum(map(cpu_seconds, self.pids))


class BareReceived(Received):
    """What the bare subscriber received."""

    def __init__(self, source: Source, pids: list[int], arrivals: Arrivals) -> None:
        super().__init__(source, pids)
        self._arrivals = arrivals

    def frames(self) -> int:
        """Return how many arrived since the beginning."""
        return self._arrivals.frames()

    def collect(self) -> list[float]:
        """Return latencies of the last frames."""
        last = range(max(1, self._source.sent - _RING + 1), self._source.sent + 1)
        return [self._arrivals.time_of(stamp) - self._source.sent_s[stamp] for stamp in last]


class ScoresReceived(Received):
    """Outcomes that the evaluator published."""

    def __init__(self, source: Source, pids: list[int], node: Node) -> None:
        super().__init__(source, pids)
        self._count = 0
        # Serialized, past the executor and by the thread that sends: this process must not be what
        # is measured. That all were evaluated is seen in the end.
        self._subscription = node.create_subscription(
            FrameScore,
            "/deeplab_evaluator/frame",
            lambda _: None,
            1000,
            raw=True,
            callback_group=receiving_group(node),
        )

    def frames(self) -> int:
        """Return how many outcomes arrived since the beginning."""
        while (taken := take(self._subscription)) is not None:
            (stamp,) = struct.unpack_from("<i", taken[0], _STAMP_OFFSET)
            self.latencies_s.append(time.monotonic() - self._source.sent_s[stamp])
            self._count += 1
        return self._count


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def use_profile() -> None:
    """Have this process and those that it starts use shared memory that holds large images."""
    profile = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
    for variable in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(variable, str(profile))


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait for something that must come."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{what} did not come within {TIMEOUT_S:g} s")
        time.sleep(0.01)


@contextlib.contextmanager
def process(
    *arguments: str,
    parameters: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[int]:
    """Run this interpreter with arguments; give its process id, end it afterwards."""
    inherited = {name: value for name, value in os.environ.items() if name not in _KEPT}
    ros = [f"{name}:={value}" for name, value in (parameters or {}).items()]
    ros = [word for entry in ros for word in ("-p", entry)]
    command = [sys.executable, *arguments, *(["--ros-args", *ros] if ros else [])]
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(  # noqa: S603  our own nodes
            command, stdout=log, stderr=log, env=inherited | (environment or {})
        )
        try:
            yield started.pid
            if started.poll() is not None:
                log.seek(0)
                raise SystemExit(log.read().decode(errors="replace"))
        finally:
            started.send_signal(signal.SIGINT)
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def run_size(
    node: Node, size: tuple[int, int], options: argparse.Namespace, folder: Path
) -> dict[str, list[dict[str, Round]]]:
    """Measure one image size; return the rounds of evaluator and graph, each with all receivers."""
    parameters = {
        "source": "topic",
        "labels": "cityscapes_train_ids",
        "queue_size": 50,
        "batch_size": options.batch_size,
    }
    with contextlib.ExitStack() as stack:
        receivers: dict[str, tuple[Source, Received]] = {}
        for index, (name, environment) in enumerate(BARE.items()):
            path = folder / f"bare{index}_{size[0]}"
            arrivals = Arrivals(path)
            pid = stack.enter_context(
                process(__file__, "--bare", str(path), environment=environment)
            )
            source = Source(node, f"/{path.name}", size)
            receivers[name] = source, BareReceived(source, [pid], arrivals)
        pid = stack.enter_context(
            process("-m", "deeplab_miou.nodes.evaluator", parameters=parameters)
        )
        to_evaluator = Source(node, "/camera", size)
        scores = ScoresReceived(to_evaluator, [pid], node)
        for name, (source, _) in receivers.items():
            wait_for(source.connected, name)
        wait_for(to_evaluator.connected, "the evaluator")
        wait_for(lambda: node.count_publishers("/deeplab_evaluator/frame"), "~/frame")

        def alternate(last: str) -> list[dict[str, Round]]:
            turns = receivers | {last: (to_evaluator, scores)}
            rounds: list[dict[str, Round]] = []
            for _ in range(options.rounds):
                rounds.append({})
                for name, (source, received) in turns.items():
                    took = measure(source, received, options.seconds, options.in_flight)
                    rounds[-1][name] = took
                    if options.verbose:
                        print(name, took, flush=True)
            return rounds

        results = {"evaluator": alternate("evaluator")}
        if not options.evaluator_only:
            with process("-m", "deeplab_miou.nodes.publisher") as publisher_pid:
                wait_for(
                    lambda: node.count_subscribers("/deeplab_evaluator/frame") > 1, "publisher"
                )
                scores.pids.append(publisher_pid)
                results["graph"] = alternate("graph")
        check(node, to_evaluator.sent)
        for source in (to_evaluator, *(source for source, _ in receivers.values())):
            for publisher in source.publishers:
                node.destroy_publisher(publisher)
    return results


def check(node: Node, frames: int) -> None:
    """Hold the evaluator's state to what was sent."""
    states: list[ConfusionMatrix] = []
    topic = "/deeplab_evaluator/confusion"
    subscription = node.create_subscription(ConfusionMatrix, topic, states.append, LATCHED)
    wait_for(lambda: states and states[-1].frames == frames, f"a state of {frames} frames")
    account = states[-1].images
    assert account.received == account.evaluated == frames, account
    node.destroy_subscription(subscription)


def show(size: tuple[int, int], results: dict[str, list[dict[str, Round]]]) -> None:
    """Print rows of the table."""
    for last, rounds in results.items():
        of_bare, of_best = (
            statistics.median(
                each[last].rate / max(each[name].rate for name in names) for each in rounds
            )
            for names in (["bare"], list(BARE))
        )
        for name in (*BARE, last):
            median = {
                field: statistics.median(getattr(each[name], field) for each in rounds)
                for field in Round.__dataclass_fields__
            }
            ratios = f"{of_bare:.0%} | {of_best:.0%}" if name == last else " | "
            print(
                f"| {size[0]}x{size[1]} | {name} | {median['rate']:.0f} | {ratios} | "
                f"{median['median_ms']:.1f} | {median['p95_ms']:.1f} | {median['cpu_ms']:.2f} | "
                f"{median['source_ms']:.2f} |",
                flush=True,
            )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bare", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["640x480", "2048x1024"])
    parser.add_argument("--in-flight", type=int, default=8, help="frames on their way at a time")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--default-transport", action="store_true", help="no config/fastdds.xml")
    parser.add_argument("--verbose", action="store_true", help="print every round")
    parser.add_argument("--evaluator-only", action="store_true", help="leave miou_publisher out")
    options = parser.parse_args()
    if options.bare:
        bare(options.bare)
        return
    if not options.default_transport:
        use_profile()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    keep_freed_memory()  # what sends is not to be what is measured
    rclpy.init()
    node = rclpy.create_node("source")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    titles = ("size", "receiver", "frames/s", "of bare", "of the best bare", "median (ms)")
    print(f"| {' | '.join((*titles, 'p95 (ms)', 'CPU (ms/frame)', 'of source'))} |")
    print("|---" * 9 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for text in options.sizes:
            width, height = map(int, text.split("x"))
            show((width, height), run_size(node, (width, height), options, Path(folder)))
    executor.shutdown()
    spinner.join(5)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
