"""Where the time of a frame goes on the demo's path: one table, a row a stage.

    python bench/stages.py [--frames 100] [--threads 2] [--checkpoint demo]

Every frame is read from a bag, decoded, segmented, counted and turned into its message; each
stage is timed by itself on the same frames, after a warm-up. The last rows are the whole path
offline, and live over DDS with four processes (the replay alone, without start and end).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from machine import describe

from deeplab_miou.bags.images import deserialise_image
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

    import numpy as np
    from numpy.typing import NDArray

    from deeplab_miou.bags.contents import BagMessage
    from deeplab_miou.evaluation.predictors import Predictor
    from deeplab_miou.images.cdr import StampedImage
    from deeplab_miou.metric.frame_scores import Scored

    Pair = tuple[BagMessage, BagMessage]

P = ParamSpec("P")
Result = TypeVar("Result")
_WARM_UP = 5


class Stages:
    """Durations by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def time(
        self, name: str, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """Call a function and note how long it took."""
        began = time.perf_counter()
        result = function(*args, **kwargs)
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result


def frames(bag: Path) -> list[Pair]:
    """Return the labelled frames of a bag as it stores them."""
    with BagReader(bag) as reader:
        messages = list(reader.messages([IMAGE_TOPIC, LABEL_TOPIC]))
    stored: dict[int, dict[str, BagMessage]] = {}
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
    for index, pair in enumerate(frames(bag)):
        stages = warm if index < _WARM_UP else timed
        stamped, labelled = stages.time("CDR to image and label", decode_pair, pair)
        image = stages.time("image to array", decode_color, stamped.image)
        labels = stages.time("label to train ids", decode_labels, labelled.image, label_map)
        network = "network, resize, argmax"
        (scored,) = stages.time(network, score, predictor, image, labels.ids)
        # On a CPU the one call does both.
        stages.seconds[network][-1] -= scored.counting_s
        stages.seconds.setdefault("confusion matrix", []).append(scored.counting_s)
        stages.time("interval and cells", add_up, bootstrap, scored.matrix, stamped.stamp_ns)
    engine.close()
    return timed


def decode_pair(pair: Pair) -> tuple[StampedImage, StampedImage]:
    """Read image and label from their messages."""
    image, label = pair
    return deserialise_image(image), deserialise_image(label)


def score(
    predictor: Predictor, image: NDArray[np.uint8], ground_truth: NDArray[np.uint8]
) -> list[Scored]:
    """Segment an image and count it."""
    return predictor.score([image], [ground_truth], keep_predictions=False).result()


def add_up(bootstrap: BlockBootstrap, matrix: NDArray[np.int64], stamp_ns: int) -> None:
    """Do what is done with a frame's counts."""
    bootstrap.update(matrix, stamp_ns)
    to_cells(matrix)


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
        labelled = evaluate(options).report.result.totals.counts.frames
        offline_s = time.perf_counter() - began

        live = run_live(
            bag,
            Path(folder),
            checkpoint=arguments.checkpoint,
            environment=ros_environment(),
            on_page=lambda _address: None,
        )
        counted = json.loads((Path(folder) / "report.json").read_text())["frames"]
        replayed = re.search(r" in ([0-9.]+) s", live.summary)
        if replayed is None:
            raise SystemExit(f"no duration in the replay's summary: {live.summary!r}")
        replay_s = float(replayed[1])

    total_s = sum(statistics.median(values) for values in stages.seconds.values())
    size = "640x480"
    print(f"{describe()}; {size}, {labelled} labelled of {arguments.frames} images\n")
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
        f"| offline, with start and report | {labelled} | {offline_s:.2f} "
        f"| {labelled / offline_s:.1f} |"
    )
    print(
        f"| live, paced replay over DDS | {counted} | {replay_s:.2f} | {counted / replay_s:.1f} |"
    )
    print(f"\nRendering the bag took {render_s * 1e3:.0f} ms an image.")
    memory = ", ".join(f"{name} {peak:.0f} MiB" for name, peak in live.peak_mebibytes.items())
    print(f"Peak resident memory of the live run: {memory}.")


if __name__ == "__main__":
    main()
