"""``deeplab-miou evaluate``: its options."""

from __future__ import annotations

import argparse
import math
from typing import Any

from deeplab_miou.defaults import IMAGE_TOPIC, LABEL_TOPIC
from deeplab_miou.model.checkpoints.options import add_options

_EPILOG = """exit codes:
  0  evaluated
  1  a topic, checkpoint, label map or device cannot be used, or the report cannot be written
  2  wrong usage
  3  the bag is damaged: what could be read was scored and reported
  4  nothing was evaluated: no image has a label with its stamp, or no pixel a label

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
    add(
        "--output",
        metavar="DIR",
        help="write report.json, report.html and the counts of each frame into this folder",
    )
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
        "--class-weights",
        type=_weights,
        default=(),
        metavar="W,W,...",
        help="weight of each class in id order, for the weighted mIoU (default: all 1)",
    )
    add(
        "--start",
        type=_seconds,
        default=0.0,
        metavar="S",
        help="begin with images stamped this many seconds after the first (default: 0)",
    )
    add(
        "--duration",
        type=_seconds,
        metavar="S",
        help="seconds to evaluate, by the images' stamps (default: all)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="what the network computes in (default: %(default)s, fp16 on a GPU where it agrees)",
    )
    add(
        "--rewrite",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute with the decoder rewritten, which gives the same labels sooner (default: on)",
    )
    add(
        "--backend",
        choices=("auto", "torch", "onnxruntime", "eager"),
        default="auto",
        help="what runs the network; eager: by ordinary PyTorch calls, a way out of trouble with a "
        "GPU; auto: torch, or eager where a GPU cannot do that (default: %(default)s)",
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
    """Evaluate and report; return the exit code.

    Raises:
        DeeplabMiouError: nothing could be evaluated or written.
    """
    from deeplab_miou.offline import terminal  # noqa: PLC0415  (--help needs none of what it needs)

    return terminal.run(arguments)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"expected seconds, 0 or more, got {text}")
    return value


def _weights(text: str) -> tuple[float, ...]:
    try:
        weights = tuple(map(float, text.split(",")))
    except ValueError:
        weights = (math.nan,)
    if not all(math.isfinite(each) and each >= 0 for each in weights):
        raise argparse.ArgumentTypeError(f"expected numbers W,W,..., each 0 or more, got {text}")
    return weights


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text}")
    return int(text)
