"""Where the time of a frame goes on the demo's path: one table, a row a stage.

    python bench/stages.py [--frames 100] [--threads 2] [--checkpoint demo]

Every frame is read from a bag, decoded, segmented, counted and turned into its message; each
stage is timed by itself on the same frames, after a warm-up. The last rows are the whole path
offline, and live over DDS with three processes (the replay alone, without start and end).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from machine import describe

from deeplab_miou.bags.images import decode_image
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.demo.bag import IMAGE_TOPIC, LABEL_TOPIC, write_demo_bag
from deeplab_miou.demo.live import ros_environment, run_live
from deeplab_miou.evaluation.engine import build_engine
from deeplab_miou.images.decoding import decode_color, decode_labels
from deeplab_miou.metric.bootstrap import BlockBootstrap
from deeplab_miou.metric.confusion import to_cells
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP = 5


class Stages:
    """Durations by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, function: Callable[[], object]) -> object:
        """Call a function and note how long it took."""
        began = time.perf_counter()
        result = function()
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result


def frames(bag: Path) -> list[tuple[object, object]]:
    """Return the labelled frames of a bag as it stores them."""
    with BagReader(bag) as reader:
        messages = list(reader.messages([IMAGE_TOPIC, LABEL_TOPIC]))
    stored: dict[int, dict[str, object]] = {}
    for message in messages:
        stored.setdefault(message.timestamp_ns, {})[message.topic] = message
    both = [pair for pair in stored.values() if len(pair) == 2]  # noqa: PLR2004
    return [(pair[IMAGE_TOPIC], pair[LABEL_TOPIC]) for pair in both]


def measure(bag: Path, checkpoint: str, threads: int) -> Stages:
    """Time every stage on every labelled frame of a bag."""
    engine = build_engine(EngineOptions(checkpoint=checkpoint, threads=threads))
    label_map, predictor = engine.label_map, engine.predictor
    bootstrap = BlockBootstrap(label_map.num_classes)
    warm, timed = Stages(), Stages()
    for index, (image_message, label_message) in enumerate(frames(bag)):
        stages = warm if index < _WARM_UP else timed
        stamped, labelled = stages.time(
            "CDR to image and label",
            lambda i=image_message, k=label_message: (decode_image(i), decode_image(k)),
        )
        image = stages.time("image to array", lambda s=stamped: decode_color(s.image))
        labels = stages.time(
            "label to train ids", lambda s=labelled: decode_labels(s.image, label_map)
        )
        network = "network, resize, argmax"
        (scored,) = stages.time(
            network,
            lambda i=image, k=labels: predictor.score(
                [i], [k.ids], keep_predictions=False
            ).result(),
        )
        # On a CPU the one call does both.
        stages.seconds[network][-1] -= scored.counting_s
        stages.seconds.setdefault("confusion matrix", []).append(scored.counting_s)
        stages.time(
            "interval and cells",
            lambda m=scored.matrix, s=stamped: (bootstrap.update(m, s.stamp_ns), to_cells(m)),
        )
    engine.close()
    return timed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100, help="images in the bag")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the network")
    parser.add_argument("--checkpoint", default="demo", help="file, or demo")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "drive"
        began = time.perf_counter()
        write_demo_bag(bag, frames=arguments.frames)
        render_s = (time.perf_counter() - began) / arguments.frames
        stages = measure(bag, arguments.checkpoint, arguments.threads)

        options = OfflineOptions(
            bag=str(bag),
            engine=EngineOptions(checkpoint=arguments.checkpoint, threads=arguments.threads),
        )
        evaluate(options)
        began = time.perf_counter()
        offline = evaluate(options).report
        offline_s = time.perf_counter() - began

        live = run_live(
            bag, Path(folder), checkpoint=arguments.checkpoint, environment=ros_environment()
        )
        counted = json.loads((Path(folder) / "report.json").read_text())["frames"]
        replay_s = float(re.search(r" in ([0-9.]+) s", live.summary)[1])

    total_s = sum(statistics.median(values) for values in stages.seconds.values())
    size = "640x480"
    print(f"{describe()}; {size}, {offline.frames} labelled of {arguments.frames} images\n")
    print("| stage | median ms | min ms | share |")
    print("| --- | ---: | ---: | ---: |")
    for name, values in stages.seconds.items():
        median_s = statistics.median(values)
        least_s = min(values)
        print(f"| {name} | {median_s * 1e3:.2f} | {least_s * 1e3:.2f} | {median_s / total_s:.0%} |")
    print(f"| sum | {total_s * 1e3:.2f} | | {1 / total_s:.1f} frames/s |")
    print()
    print("| path | labelled frames | s | frames/s |")
    print("| --- | ---: | ---: | ---: |")
    print(
        f"| offline, with start and report | {offline.frames} | {offline_s:.2f} "
        f"| {offline.frames / offline_s:.1f} |"
    )
    print(
        f"| live, paced replay over DDS | {counted} | {replay_s:.2f} | {counted / replay_s:.1f} |"
    )
    print(f"\nRendering the bag took {render_s * 1e3:.0f} ms an image.")
    memory = ", ".join(f"{name} {peak:.0f} MiB" for name, peak in live.peak_mebibytes.items())
    print(f"Peak resident memory of the live run: {memory}.")


if __name__ == "__main__":
    main()
