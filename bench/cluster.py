"""One worker against two: a drive evaluated on a local Ray.

    python bench/cluster.py [--frames 400] [--rounds 3]

A worker has one core and one thread. Timed from when all workers have loaded the network: reading
the stamps, the sections on all workers, putting them together. All rounds must give the counts of
one process without Ray.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from machine import describe
from offline import write_bag

from deeplab_miou.offline.cluster import evaluation
from deeplab_miou.offline.cluster.pool import Pool
from deeplab_miou.offline.evaluation import evaluate
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SECTIONS = 8
START_S = 120.0


@contextmanager
def cluster(cores: int) -> Iterator[str]:
    """Run a head node of so many cores; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--port={port}", f"--num-cpus={cores}", "--include-dashboard=false"),
        *("--disable-usage-stats", "--node-ip-address=127.0.0.1"),
    ]
    with tempfile.NamedTemporaryFile("r") as log, Path(log.name).open("w") as output:
        head = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603  (Ray's own)
        try:
            deadline_s = time.monotonic() + START_S
            while "Ray runtime started" not in Path(log.name).read_text(encoding="utf-8"):
                if head.poll() is not None or time.monotonic() > deadline_s:
                    raise SystemExit(Path(log.name).read_text(encoding="utf-8"))
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait()


def measure(address: str, options: OfflineOptions, workers: int) -> tuple[float, NDArray[np.int64]]:
    """Return the seconds of an evaluation, and its counts."""
    with Pool(address, options, print) as pool:
        if pool.size != workers:
            raise SystemExit(f"{pool.size} workers, expected {workers}")
        pool.wait_for_all()
        began_s = time.perf_counter()
        found = evaluation.evaluate_on(pool, options)
        return time.perf_counter() - began_s, found.report.result.totals.counts.matrix


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"
    evaluation.SECTION_FRAMES = -(-arguments.frames // SECTIONS)
    times: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "drive"
        write_bag(bag, arguments.frames, compressed=True)
        engine = EngineOptions(checkpoint="demo", device="cpu", threads=1)
        options = OfflineOptions(bag=str(bag), engine=engine)
        alone = evaluate(options).report.result.totals.counts.matrix
        for _ in range(arguments.rounds):
            for workers, found in times.items():
                with cluster(workers) as address:
                    took_s, counts = measure(address, options, workers)
                if not np.array_equal(counts, alone):
                    raise SystemExit("the counts are not those of one process")
                found.append(took_s)
    print(f"{describe()}; {arguments.frames} frames, {arguments.rounds} rounds\n")
    print("| workers | s | frames/s | times one worker |")
    print("|---|---|---|---|")
    for workers, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(times[1], found, strict=True))
        took_s = statistics.median(found)
        print(f"| {workers} | {took_s:.1f} | {arguments.frames / took_s:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
