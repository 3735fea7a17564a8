"""``deeplab-miou demo``: scores a rendered drive live over ROS 2 and offline; both must agree."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError, DeeplabMiouError

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from deeplab_miou.report.report import Report

_EPILOG = """What it does:
  1. renders a drive that the network was not trained on and records it to a rosbag2 (mcap)
  2. plays it to deeplab_evaluator and miou_publisher, in separate processes over DDS, with a page
     (miou_watch) on which to watch the score converge
  3. evaluates the same bag offline and checks that every count, interval and bound, the window,
     the timeline and the worst frames are equal

exit codes:
  0  live and offline results are equal
  1  they differ, or something failed; the last line says what
  2  wrong usage
"""

EQUAL, DIFFERENT = 0, 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("demo_output"),
        metavar="DIR",
        help="folder for the bag, reports and logs; replaces those of an earlier demo "
        "(default: %(default)s)",
    )
    add("--frames", type=int, default=240, metavar="N", help="images in the bag (default: 240)")
    add("--watch", action="store_true", help="wait until you open the live page")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo.

    Args:
        arguments: the parsed command line.

    Returns:
        The exit code.

    Raises:
        DeeplabMiouError: a step failed.
    """
    from rich.console import Console  # noqa: PLC0415  (--help needs none of these)

    from deeplab_miou.demo.live import ros_environment, run_live  # noqa: PLC0415
    from deeplab_miou.offline.evaluation import evaluate  # noqa: PLC0415
    from deeplab_miou.options.offline import OfflineOptions  # noqa: PLC0415
    from deeplab_miou.options.scoring import EngineOptions, WindowOptions  # noqa: PLC0415
    from deeplab_miou.report.files import write_report  # noqa: PLC0415
    from deeplab_miou.report.terminal import print_report  # noqa: PLC0415

    _check_ros()
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    output: Path = arguments.output
    bag = output / "drive"
    _clear(output, bag)

    began_s = time.monotonic()
    _render(bag, arguments.frames)
    console.print(f"1/3 rendered {arguments.frames} images to {bag} in {_since(began_s)}")

    environment = ros_environment()
    domain = environment["ROS_DOMAIN_ID"]
    console.print(f"2/3 scoring live, four processes in ROS_DOMAIN_ID={domain}")
    then = "; waiting for you to open it" if arguments.watch else ""
    live = run_live(
        bag,
        output,
        checkpoint="demo",
        environment=environment,
        on_page=lambda address: console.print(f"    watch the score at {address}{then}"),
        wait_for_watcher=arguments.watch,
    )
    console.print(f"    {live.summary}")
    memory = ", ".join(f"{name} {peak:.0f} MiB" for name, peak in live.peak_mebibytes.items())
    console.print(f"    {live.seconds:.1f} s from first start to last exit; peak memory: {memory}")

    began_s = time.monotonic()
    # The publisher has a window, so that the two reports can be compared.
    options = OfflineOptions(
        bag=str(bag), engine=EngineOptions(checkpoint="demo"), window=WindowOptions()
    )
    report = evaluate(options).report
    write_report(report, output / "offline")
    console.print(f"3/3 evaluated the same bag offline in {_since(began_s)}")
    console.print()
    print_report(report, console)
    console.print(f"\nreport: {output / 'report.json'} and {output / 'report.html'}")
    console.print(f"with pictures of the worst frames: {output / 'offline' / 'report.html'}")
    return _compare(output / "report.json", report, console)


def _check_ros() -> None:
    try:
        __import__("rclpy")
        __import__("deeplab_miou_msgs.msg")
    except ImportError as error:
        raise ConfigurationError(
            f"the demo needs ROS 2 and deeplab_miou_msgs ({error}): run make demo, or source "
            "your workspace"
        ) from error


def _clear(output: Path, bag: Path) -> None:
    from deeplab_miou.report.files import REPORT_NAMES  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
        for folder in (bag, output / "offline", output / "logs"):
            if folder.exists():
                shutil.rmtree(folder)
        for name in REPORT_NAMES:
            (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise DeeplabMiouError(f"output folder {output} cannot be used: {error}") from error


def _render(bag: Path, frames: int) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    from deeplab_miou.demo.bag import write_demo_bag  # noqa: PLC0415

    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=frames)
        write_demo_bag(
            bag, frames=frames, progress=lambda done, _total: progress.update(task, completed=done)
        )


def _compare(live_path: Path, report: Report, console: Console) -> int:
    from deeplab_miou.report.agreement import find_differences  # noqa: PLC0415
    from deeplab_miou.report.files import to_json  # noqa: PLC0415

    live = json.loads(live_path.read_text(encoding="utf-8"))
    differing = find_differences(live, json.loads(to_json(report)))
    if differing:
        console.print(f"live and offline results differ in: {', '.join(differing)}")
        for problem in live["problems"]:
            console.print(f"live: {problem}")
        return DIFFERENT
    counts = report.result.totals.counts
    console.print(
        f"live = offline: all {counts.pixels} pixels of {counts.frames} frames are "
        "in the same cells; every message of the account,\nevery interval and bound, the window, "
        "the timeline and the worst frames are equal to the last digit"
    )
    return EQUAL


def _since(began_s: float) -> str:
    return f"{time.monotonic() - began_s:.1f} s"
