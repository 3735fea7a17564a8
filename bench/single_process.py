"""Memory of evaluators and publisher in one process and in one each, on the demo drive.

    python bench/single_process.py [--frames 240] [--cameras 1 2]

Each way replays the drive once, paced. Counts must be equal. Memory is that of the evaluators and
the publisher: the greatest sum, over the run, of what is resident, with shared pages (of libraries,
mostly) divided among those that share them (PSS); and the sum of each process's peak (RSS).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from machine import describe

from deeplab_miou.demo.bag import write_demo_bag
from deeplab_miou.demo.live import ros_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_S = 600.0
LOOK_S = 0.05
NODES = "deeplab_miou.nodes"


class Measured(NamedTuple):
    """Of one run: MiB, seconds, and what was counted."""

    pss: float
    rss: float
    seconds: float
    counts: object


def memory(pid: int) -> tuple[float, float]:
    """Return the proportional share and the peak of a process's resident memory, MiB."""
    values = []
    for name, field in (("smaps_rollup", "Pss"), ("status", "VmHWM")):
        found = None
        with contextlib.suppress(OSError):
            text = Path("/proc", str(pid), name).read_text(encoding="ascii", errors="replace")
            found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        values.append(int(found[1]) / 1024 if found else 0.0)
    return values[0], values[1]


def start(
    module: str,
    arguments: Sequence[str],
    ros_arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
) -> subprocess.Popen[bytes]:
    """Start a program of ours."""
    command = [sys.executable, "-m", f"{NODES}.{module}", *arguments, "--ros-args", *ros_arguments]
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment)  # noqa: S603


def measure(bag: Path, cameras: int, folder: Path, *, together: bool) -> Measured:
    """Replay a bag once; every camera gets all of it."""
    folder.mkdir()
    environment, log = ros_environment(), folder / "log.txt"
    names = [f"deeplab_evaluator_{index}" for index in range(cameras)]
    topics = ", ".join(f"/{name}/confusion" for name in names)
    scoring = ["-p", "checkpoint:=demo"]
    reporting = ["-p", f"confusion_topics:=[{topics}]", "-p", f"report_directory:={folder}"]
    if together:
        words = [word for name in names for word in ("--evaluator", name)]
        measured = [start("single_process", words, scoring + reporting, environment, log)]
    else:
        measured = [
            start("evaluator", [], ["-r", f"__node:={name}", *scoring], environment, log)
            for name in names
        ]
        measured.append(start("publisher", [], reporting, environment, log))
    evaluators = ", ".join(f"/{name}" for name in names)
    replay = ["-p", f"bag:={bag}", "-p", "paced:=true", "-p", f"evaluators:=[{evaluators}]"]
    replay += ["-p", "publisher:=/miou_publisher"]
    began_s = time.monotonic()
    replayer = start("replayer", [], replay, environment, log)
    most_pss, peaks = 0.0, [0.0] * len(measured)
    try:
        while replayer.poll() is None and time.monotonic() - began_s < LIMIT_S:
            now = [memory(process.pid) for process in measured]
            most_pss = max(most_pss, sum(pss for pss, _ in now))
            peaks = [max(peak, rss) for peak, (_, rss) in zip(peaks, now, strict=True)]
            time.sleep(LOOK_S)
        seconds = time.monotonic() - began_s
        if replayer.poll() != 0:
            sys.exit(f"the replay failed:\n{log.read_text()[-2000:]}")
        for process in measured:
            process.send_signal(signal.SIGINT)
        if any(process.wait(20) for process in measured):
            sys.exit(f"a node failed:\n{log.read_text()[-2000:]}")
    finally:
        for process in (*measured, replayer):
            process.kill()
            process.wait()
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return Measured(most_pss, sum(peaks), seconds, report["confusion"])


def main() -> None:
    """Print the table; exit status 1 if the two ways count differently."""
    parser = argparse.ArgumentParser(description="Measure the memory that one process saves.")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(describe())
    print("| evaluators | processes | peak PSS, MiB | sum of peak RSS, MiB | s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_demo_bag(folder / "drive", frames=options.frames)
        for cameras in options.cameras:
            counts = []
            for together in (False, True):
                into = folder / f"{cameras}_{together}"
                done = measure(folder / "drive", cameras, into, together=together)
                processes = 1 if together else cameras + 1
                row = f"{done.pss:.0f} | {done.rss:.0f} | {done.seconds:.1f}"
                print(f"| {cameras} | {processes} | {row} |", flush=True)
                counts.append(done.counts)
            if counts[0] != counts[1]:
                sys.exit("the two ways count differently")


if __name__ == "__main__":
    main()
