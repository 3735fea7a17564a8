"""How close `deeplab-miou evaluate` comes to the throughput of the network alone.

    python bench/offline.py [--frames 240] [--threads 1 2] [--rounds 3] [--networks demo ...]

The demo's drive, every frame with a label, as raw images and as JPEG with labels as PNG. The
networks are the demo's, which is small, and DeepLabv3+ with MobileNetV2, random weights. *Network*
scores the same frames, ready for it beforehand, one after another: it is what the device can do.
*Evaluate* is the whole evaluation with a network that is loaded: reading the bag twice, decoding,
network, counting, intervals and the report's pictures. *Stamps* is the first reading. Rounds
alternate; medians and ratios within a round.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import torch
from machine import describe
from peer_node import raw

from deeplab_miou.bags.images import deserialise_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.bags.writer import BagWriter
from deeplab_miou.demo.bag import DEMO_SEED, IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.demo.scenes import SceneRenderer
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.images.decoding import decode_labels
from deeplab_miou.images.messages import CompressedImage
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.model.checkpoints import native
from deeplab_miou.model.checkpoints.checkpoint import Preprocessing
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.offline.stamps import read_stamps
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.evaluation.engine import Engine

    Frames = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]

RATE_HZ = 10
NETWORKS = ("demo", "mobilenet_v2")


def write_bag(path: Path, frames: int, *, compressed: bool) -> None:
    """Render a drive, every frame with its label."""
    renderer = SceneRenderer(DEMO_SEED)
    with BagWriter(path) as writer:
        for index in range(frames):
            scene = renderer.render(index / RATE_HZ)
            stamp_ns = (1_700_000_000 * RATE_HZ + index) * (1_000_000_000 // RATE_HZ)
            for topic, pixels, kind in (
                (IMAGE_TOPIC, scene.image, "rgb8"),
                (LABEL_TOPIC, scene.label, "mono8"),
            ):
                if compressed:
                    message = packed(pixels, "jpeg" if kind == "rgb8" else "png")
                    writer.write_image(topic, stamp_ns, "camera", message)
                else:
                    writer.write_image(topic, stamp_ns, "camera", raw(pixels, kind))


def packed(pixels: NDArray[np.uint8], form: str) -> CompressedImage:
    """Return a compressed image message."""
    ordered = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # noqa: PLR2004
    _, data = cv2.imencode(f".{form}", ordered)
    return CompressedImage(form, data.tobytes())


def decoded(bag: Path, engine: Engine) -> Frames:
    """Return all frames as the network and the counts take them."""
    stored: dict[int, dict[str, NDArray[np.uint8]]] = {}
    with BagReader(bag) as reader:
        for message in reader.messages([IMAGE_TOPIC, LABEL_TOPIC]):
            stamped = deserialise_image(message)
            is_image = message.topic == IMAGE_TOPIC
            stored.setdefault(stamped.stamp_ns, {})[message.topic] = (
                engine.predictor.prepare(stamped.image)
                if is_image
                else decode_labels(stamped.image, engine.label_map).ids
            )
    return [(each[IMAGE_TOPIC], each[LABEL_TOPIC]) for each in stored.values()]


def time_network(frames: Frames, engine: Engine) -> float:
    """Return the seconds that all frames take."""
    began_s = time.perf_counter()
    for image, label in frames:
        engine.predictor.score([image], [label], keep_predictions=False).result()
    return time.perf_counter() - began_s


def time_evaluate(options: OfflineOptions, engine: Engine, frames: int) -> float:
    """Return the seconds of a whole evaluation."""
    began_s = time.perf_counter()
    found = evaluate(options, engine=engine)
    took_s = time.perf_counter() - began_s
    assert found.report.result.totals.counts.frames == frames, (
        found.report.result.totals.counts.frames
    )
    return took_s


def time_stamps(bag: Path) -> float:
    """Return the seconds of reading the stamps."""
    began_s = time.perf_counter()
    with BagReader(bag) as reader:
        read_stamps(reader, [IMAGE_TOPIC, LABEL_TOPIC])
    return time.perf_counter() - began_s


def save_mobilenet(path: Path) -> str:
    """Save a network of the demo's classes, and return the name of its file."""
    label_map = load_label_map("demo")
    torch.manual_seed(0)
    network = build(Architecture(num_classes=label_map.num_classes, backbone="mobilenet_v2")).eval()
    native.save(path, network, label_map=label_map, preprocessing=Preprocessing(), provenance={})
    return str(path)


def measure(bag: Path, titles: str, engine_options: EngineOptions, rounds: int) -> None:
    """Print a row."""
    options = OfflineOptions(bag=str(bag), engine=engine_options)
    engine = build_engine(options.engine)
    frames = decoded(bag, engine)
    time_network(frames[:10], engine)
    network, whole, stamps = [], [], []
    for _ in range(rounds):
        network.append(time_network(frames, engine))
        whole.append(time_evaluate(options, engine, len(frames)))
        stamps.append(time_stamps(bag))
    engine.close()
    shares = [a / b for a, b in zip(network, whole, strict=True)]
    print(
        f"| {titles} | {len(frames) / statistics.median(network):.1f} | "
        f"{len(frames) / statistics.median(whole):.1f} | {statistics.median(shares):.0%} | "
        f"{min(shares):.0%}-{max(shares):.0%} | "
        f"{1e3 * statistics.median(stamps) / len(frames):.2f} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    arguments = parser.parse_args()
    print(f"{describe()}; {arguments.frames} frames, {arguments.rounds} rounds\n")
    titles = ("network", "bag", "threads", "network (frames/s)", "evaluate (frames/s)", "share")
    print(f"| {' | '.join((*titles, 'in the rounds', 'stamps (ms/frame)'))} |")
    print("|---" * 8 + "|")
    with tempfile.TemporaryDirectory() as folder:
        mobilenet = save_mobilenet(Path(folder) / "mobilenet.safetensors")
        bags = {"raw": Path(folder) / "raw", "JPEG, PNG": Path(folder) / "packed"}
        for name, bag in bags.items():
            write_bag(bag, arguments.frames, compressed=name != "raw")
        for network, (name, bag), threads in itertools.product(
            arguments.networks, bags.items(), arguments.threads
        ):
            options = EngineOptions(
                checkpoint=mobilenet if network == "mobilenet_v2" else network,
                labels="demo",
                threads=threads,
                device="cpu",
            )
            measure(bag, f"{network} | {name} | {threads}", options, arguments.rounds)


if __name__ == "__main__":
    main()
