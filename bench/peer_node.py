"""A simple node (`obvious_node.py`) and this package's nodes on the same bag.

    python bench/peer_node.py [--message-filters DIR] [--rates 1 10] [--rounds 3]

A rendered drive of 640x480, every frame with a label, is played by `bag_replayer` at each rate to
either, in turns, round after round. The network is segmentation_models_pytorch's DeepLabv3+ with
MobileNetV2, the same weights for both: random, but for the last layer, which is fitted to frames of
another drive, so that classes are told apart. At the end of each round this package's nodes also
score a paced replay, which sends as fast as they can take it. The first rate is one that
both can take on two cores of a CPU, the second one that neither can.

It takes segmentation_models_pytorch where requirements-parity.txt says, torchmetrics, and
message_filters: from a sourced ROS 2, or the folder above the package ``message_filters`` in a copy
of its repository.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
import torch
from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, MeanIoU
from graph import LATCHED, cpu_seconds, process, use_profile
from machine import describe
from network import import_smp, randomize
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Float64

from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.demo.bag import IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.demo.scenes import SceneRenderer
from deeplab_miou.images.messages import RawImage
from deeplab_miou.labels.label_map import load_label_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from rclpy.node import Node

CAMERA_HZ = 10
DRIVE, TRAINING_DRIVE = 2_000_004, 10_000
# Nothing that still works on a frame is silent for as long.
SILENCE_S = 10.0
TIMEOUT_S = 180.0
PEER, OURS, PACED = "simple node", "deeplab_miou", "deeplab_miou (paced)"


@dataclass(frozen=True)
class Round:
    """What one replay gave.

    Attributes:
        scored: frames.
        told: frames that the node itself says it did not score.
        rate: frames scored per second, from the first to the last.
        cpu_ms: processor time of a frame that was scored.
        miou: the score.
    """

    scored: int
    told: int
    rate: float
    cpu_ms: float
    miou: float


class Outcomes:
    """What a contender has published so far.

    Args:
        node: subscribes.
        pids: its processes.
    """

    def __init__(self, node: Node, pids: list[int]) -> None:
        self._pids = pids
        self._times_s: list[float] = []
        self._cpu_s = self._cpu()
        self._used_s = 0.0
        self._state: ConfusionMatrix | None = None
        self.miou = float("nan")
        self._node = node
        self._subscriptions = [
            node.create_subscription(Float64, "/obvious_node/miou", self._take_peers, 1000),
            node.create_subscription(FrameScore, "/deeplab_evaluator/frame", self._take, 1000),
            node.create_subscription(
                ConfusionMatrix, "/deeplab_evaluator/confusion", self._take_state, LATCHED
            ),
            node.create_subscription(MeanIoU, "/miou_publisher/result", self._take_result, LATCHED),
        ]

    def settle(self) -> None:
        """Wait until nothing more comes."""
        deadline_s = time.monotonic() + TIMEOUT_S
        seen, since_s = -1, time.monotonic()
        while time.monotonic() < since_s + SILENCE_S:
            if time.monotonic() > deadline_s:
                raise SystemExit(f"frames are still coming {TIMEOUT_S:g} s after the replay")
            if len(self._times_s) != seen:
                seen, since_s = len(self._times_s), time.monotonic()
            time.sleep(0.05)

    def result(self) -> Round:
        """Return what came, and stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        scored = len(self._times_s)
        several = scored > 1
        rate = (scored - 1) / (self._times_s[-1] - self._times_s[0]) if several else math.nan
        told = sum(self._state.labels.dropped) if self._state is not None else 0
        return Round(scored, told, rate, 1e3 * self._used_s / max(scored, 1), self.miou)

    def _cpu(self) -> float:
        return sum(map(cpu_seconds, self._pids))

    def _count(self) -> None:
        self._times_s.append(time.monotonic())
        self._used_s = self._cpu() - self._cpu_s

    def _take_peers(self, message: Float64) -> None:
        self._count()
        self.miou = message.data

    def _take(self, message: FrameScore) -> None:
        if message.outcome == "evaluated":
            self._count()

    def _take_state(self, message: ConfusionMatrix) -> None:
        self._state = message

    def _take_result(self, message: MeanIoU) -> None:
        self.miou = message.miou


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that must come, on a loaded machine too."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{what} did not come within {TIMEOUT_S:g} s")
        time.sleep(0.05)


def raw(pixels: NDArray[np.uint8], encoding: str) -> RawImage:
    """Return an image message."""
    height, width = pixels.shape[:2]
    step = pixels.strides[0]
    return RawImage(height, width, encoding, is_bigendian=False, step=step, data=pixels.tobytes())


def write_bag(path: Path, frames: int) -> None:
    """Render a drive, every frame with its label."""
    renderer = SceneRenderer(DRIVE)
    with BagWriter(path) as writer:
        for index in range(frames):
            scene = renderer.render(index / CAMERA_HZ)
            stamp_ns = (1_700_000_000 * CAMERA_HZ + index) * 1_000_000_000 // CAMERA_HZ
            writer.write_image(IMAGE_TOPIC, stamp_ns, "camera", raw(scene.image, "rgb8"))
            writer.write_image(LABEL_TOPIC, stamp_ns, "camera", raw(scene.label, "mono8"))


def raw_ids() -> list[int]:
    """Return the id in label images of each class."""
    return [each.ids[0] for each in load_label_map("demo").classes]


def write_weights(path: Path) -> None:
    """Save a random network whose last layer is fitted to some frames by least squares."""
    ids = raw_ids()
    smp: Any = import_smp()
    network: Any = randomize(
        smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=len(ids))
    )
    renderer = SceneRenderer(TRAINING_DRIVE)
    features: list[torch.Tensor] = []
    network.segmentation_head.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rows, targets = [], []
    for index in range(8):
        scene = renderer.render(4.0 * index)
        pixels = (torch.from_numpy(scene.image).float() / 255 - mean) / std
        with torch.no_grad():
            network(pixels.permute(2, 0, 1)[None].contiguous())
        label = torch.from_numpy(scene.label[2::8, 2::8].astype(np.int64))
        wanted = label[..., None] == torch.tensor(ids)
        known = wanted.any(-1)
        rows.append(features.pop()[0, :, ::2, ::2].permute(1, 2, 0)[known])
        targets.append(wanted[known].float())
    x, y = torch.cat(rows).double(), torch.cat(targets).double()
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    ridge = 1e-4 * x.square().mean() * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    fitted = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    head = network.segmentation_head[0]
    head.weight.data = fitted[:-1].T[..., None, None].float()
    head.bias.data = fitted[-1].float()
    torch.save(network.state_dict(), path)


@contextlib.contextmanager
def contender(name: str, node: Node, weights: Path) -> Iterator[list[int]]:
    """Start a contender, wait until it listens, give its process ids."""
    with contextlib.ExitStack() as stack:
        if name == PEER:
            ids = ",".join(map(str, raw_ids()))
            script = Path(__file__).with_name("obvious_node.py")
            pids = [stack.enter_context(process(str(script), str(weights), ids))]
        else:
            evaluator: dict[str, object] = {"checkpoint": str(weights), "labels": "demo"}
            pids = [
                stack.enter_context(process("-m", f"deeplab_miou.nodes.{module}", parameters=each))
                for module, each in (("evaluator", evaluator), ("publisher", {}))
            ]
        if name == PEER:
            topics = [IMAGE_TOPIC, LABEL_TOPIC]
            wait_for(lambda: all(map(node.count_subscribers, topics)), name)
        else:
            # It subscribes to images when it sees of what kind they are.
            frames = "/deeplab_evaluator/frame"
            wait_for(lambda: node.count_publishers(frames) > 0, name)
            wait_for(lambda: node.count_subscribers(frames) > 0, "miou_publisher")
        yield pids


def replay(bag: Path, parameters: dict[str, object]) -> None:
    """Play the bag to whoever listens."""
    given = {
        "bag": bag,
        "progress": "false",
        "startup_timeout": TIMEOUT_S,
        "wait_for_subscribers": f"[{IMAGE_TOPIC},{LABEL_TOPIC}]",
        **parameters,
    }
    words = [word for key, value in given.items() for word in ("-p", f"{key}:={value}")]
    command = [sys.executable, "-m", "deeplab_miou.nodes.replayer", "--ros-args", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  (our own node)


def measure(name: str, node: Node, bag: Path, weights: Path, rate: float) -> Round:
    """Play the bag to a contender once."""
    with contender(name, node, weights) as pids:
        outcomes = Outcomes(node, pids)
        paced: dict[str, object] = {"paced": "true"}
        replay(bag, paced if name == PACED else {"rate": rate / CAMERA_HZ})
        outcomes.settle()
        return outcomes.result()


def show(name: str, rate: str, frames: int, rounds: list[Round]) -> None:
    """Print a row: medians of the rounds, and the range of what was scored."""
    scored = sorted(each.scored for each in rounds)
    lost = [frames - each.scored for each in rounds]
    median = {
        field: statistics.median(getattr(each, field) for each in rounds)
        for field in Round.__dataclass_fields__
    }
    span = f"{scored[0]}" if scored[0] == scored[-1] else f"{scored[0]}-{scored[-1]}"
    print(
        f"| {rate} | {name} | {span} | {statistics.median(lost):.0f} | {median['told']:.0f} | "
        f"{median['rate']:.1f} | {median['cpu_ms']:.0f} | {median['miou']:.4f} |",
        flush=True,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--message-filters", metavar="DIR", help="where message_filters is")
    parser.add_argument("--rates", type=float, nargs="+", default=[1, 10], metavar="HZ")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--verbose", action="store_true", help="print every round")
    options = parser.parse_args()
    if options.message_filters:
        folders = [options.message_filters, os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
        sys.path.insert(0, options.message_filters)
    try:
        import message_filters  # noqa: F401, PLC0415
        import torchmetrics  # noqa: F401, PLC0415
    except ImportError as error:
        raise SystemExit(f"{error}: see the top of {__file__}") from None
    use_profile()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init()
    node = rclpy.create_node("peer_node")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    results: dict[tuple[str, str], list[Round]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bag, weights = Path(folder) / "drive", Path(folder) / "smp.pth"
        write_bag(bag, options.frames)
        write_weights(weights)
        turns = [(name, rate) for rate in options.rates for name in (PEER, OURS)]
        for _ in range(options.rounds):
            for name, rate in [*turns, (PACED, 0.0)]:
                found = measure(name, node, bag, weights, rate)
                if options.verbose:
                    print(name, rate, found, flush=True)
                results.setdefault((name, f"{rate:g} Hz" if rate else "paced"), []).append(found)
    executor.shutdown()
    spinner.join(5)
    node.destroy_node()
    rclpy.try_shutdown()
    print(f"{describe()}; {options.frames} frames, {options.rounds} rounds\n")
    titles = ("camera", "node", "scored", "lost", "reported as lost", "frames/s")
    print(f"| {' | '.join((*titles, 'CPU (ms/frame)', 'mIoU'))} |")
    print("|---" * 8 + "|")
    for (name, rate), rounds in results.items():
        show(name, rate, options.frames, rounds)


if __name__ == "__main__":
    main()
