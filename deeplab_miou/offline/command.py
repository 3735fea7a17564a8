"""``deeplab-miou evaluate``: options in, table and files out."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from deeplab_miou.defaults import IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.model.options import add_options

if TYPE_CHECKING:
    from rich.console import Console

    from deeplab_miou.offline.evaluation import Evaluation
    from deeplab_miou.offline.options import OfflineOptions

_EPILOG = """exit codes:
  0  evaluated
  1  a topic, checkpoint, label map or device cannot be used, or the report cannot be written
  2  wrong usage
  3  the bag is damaged: what could be read was scored and reported
  4  nothing was evaluated: no image has a label with its stamp

examples:
  deeplab-miou evaluate drive/ --checkpoint model.safetensors --output results
  deeplab-miou evaluate drive.mcap --prediction-topic /segmentation --labels cityscapes
"""


def add_parser(subparsers: Any, **texts: str) -> None:  # noqa: ANN401  (argparse hides its type)
    """Add the subcommand.

    Args:
        subparsers: what ``add_subparsers`` returned.
        texts: help and description.
    """
    parser = subparsers.add_parser(
        "evaluate",
        usage="%(prog)s BAG (--checkpoint FILE | --prediction-topic TOPIC) [options]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **texts,
    )
    add = parser.add_argument
    add("bag", metavar="BAG", help="rosbag2 folder, .mcap file or .db3 file")
    group = parser.add_argument_group("predictions (one is required)").add_mutually_exclusive_group(
        required=True
    )
    group.add_argument(
        "--checkpoint", default="", metavar="FILE", help="run this network; 'demo': the shipped one"
    )
    group.add_argument(
        "--prediction-topic",
        default="",
        metavar="TOPIC",
        help="score label images that are in the bag already",
    )
    add(
        "--labels",
        default="",
        metavar="MAP",
        help="label map of the ground truth, name or file (default: the checkpoint's own)",
    )
    add(
        "--prediction-labels",
        default="",
        metavar="MAP",
        help="label map of the predictions' raw ids or colours (default: they are train ids)",
    )
    add("--image-topic", default=IMAGE_TOPIC, metavar="TOPIC", help="default: %(default)s")
    add("--label-topic", default=LABEL_TOPIC, metavar="TOPIC", help="default: %(default)s")
    add_options(parser)
    add("--output", metavar="DIR", help="write report.json and report.html into this folder")
    add(
        "--sync-tolerance",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="greatest difference of image and label stamp in seconds (default: 0, equal stamps)",
    )
    add(
        "--score-at",
        choices=("label", "prediction"),
        default="label",
        help="whose resolution is scored (default: %(default)s)",
    )
    add(
        "--absent-classes",
        choices=("exclude", "zero"),
        default="exclude",
        help="classes without a pixel: leave them out of the mean or count 0 (default: exclude)",
    )
    add(
        "--start", type=_seconds, default=0.0, metavar="S", help="seconds into the bag (default: 0)"
    )
    add("--duration", type=_seconds, metavar="S", help="seconds to evaluate (default: all)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add(
        "--backend",
        choices=("torch", "onnxruntime", "auto"),
        default="torch",
        help="what runs the network; auto: the faster of the two (default: %(default)s)",
    )
    add("--threads", type=_count, default=0, metavar="N", help="CPU threads (default: PyTorch's)")
    add(
        "--format",
        choices=("table", "json"),
        default="table",
        help="what goes to standard output (default: %(default)s)",
    )
    add("--quiet", action="store_true", help="no progress and no table; the report is written")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and report.

    Args:
        arguments: the parsed command line.

    Returns:
        The exit code.

    Raises:
        DeeplabMiouError: nothing could be evaluated or written.
    """
    from rich.console import Console  # noqa: PLC0415  (--help needs none of these)

    from deeplab_miou.offline.evaluation import evaluate  # noqa: PLC0415
    from deeplab_miou.report.files import (  # noqa: PLC0415
        check_directory,
        to_json,
        write_report,
    )

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if arguments.output:
        # Before the work, not after an hour of it.
        check_directory(arguments.output)
    options = _options(arguments)
    if arguments.quiet or not errors.is_terminal:
        evaluation = evaluate(options)
    else:
        evaluation = _evaluate_with_progress(options, errors)
    if arguments.output:
        paths = write_report(evaluation.report, arguments.output)
        if not arguments.quiet:
            errors.print(f"wrote {paths[0]} and {paths[1]}", markup=False)
    if arguments.format == "json" and not arguments.quiet:
        sys.stdout.write(to_json(evaluation.report))
    elif not arguments.quiet:
        _print(evaluation)
    return _exit_code(evaluation, errors)


def _options(arguments: argparse.Namespace) -> OfflineOptions:
    from deeplab_miou.engine import EngineOptions  # noqa: PLC0415
    from deeplab_miou.offline.options import OfflineOptions  # noqa: PLC0415

    engine = EngineOptions(
        source="topic" if arguments.prediction_topic else "network",
        checkpoint=arguments.checkpoint,
        labels=arguments.labels,
        prediction_labels=arguments.prediction_labels,
        output_stride=arguments.output_stride,
        input_size=arguments.input_size,
        mean=arguments.mean,
        std=arguments.std,
        device=arguments.device,
        backend=arguments.backend,
        threads=arguments.threads,
        score_at=arguments.score_at,
    )
    return OfflineOptions(
        bag=arguments.bag,
        engine=engine,
        image_topic=arguments.image_topic,
        label_topic=arguments.label_topic,
        prediction_topic=arguments.prediction_topic,
        sync_tolerance_s=arguments.sync_tolerance,
        start_s=arguments.start,
        duration_s=arguments.duration,
        absent_classes=arguments.absent_classes,
    )


def _evaluate_with_progress(options: OfflineOptions, console: Console) -> Evaluation:
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from deeplab_miou.offline.evaluation import evaluate  # noqa: PLC0415

    columns = (TextColumn("messages"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        return evaluate(
            options, lambda done, total: progress.update(task, completed=done, total=total)
        )


def _print(evaluation: Evaluation) -> None:
    from rich.console import Console  # noqa: PLC0415

    from deeplab_miou.report.table import print_table, printable  # noqa: PLC0415

    # Piped into a file or a pager, a table of 80 columns would lose its numbers.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    print_table(evaluation.report, console)
    for reason, message in evaluation.first_drops.items():
        console.print(f"first {reason}: {printable(message)}", markup=False, soft_wrap=True)


def _exit_code(evaluation: Evaluation, errors: Console) -> int:
    from deeplab_miou import cli  # noqa: PLC0415

    if evaluation.damaged:
        for problem in evaluation.report.problems:
            errors.print(f"deeplab-miou: {problem}", markup=False)
        return cli.DAMAGED_BAG
    if not evaluation.report.frames:
        errors.print("deeplab-miou: nothing was evaluated, see what became of each message")
        return cli.NOTHING_EVALUATED
    return cli.OK


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text}")
    return int(text)
