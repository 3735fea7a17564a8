"""``deeplab-miou evaluate``: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.criteria import CriteriaOptions
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

if TYPE_CHECKING:
    import argparse

_EPILOG = """exit codes:
  0  evaluated
  1  a topic, checkpoint, label map or device cannot be used, or a result cannot be written
  2  wrong usage
  3  a bag is damaged: what could be read, and all other bags, were scored and reported
  4  nothing was evaluated: no image has a label with its stamp, or no pixel a label
  5  not as good as --criteria asks for

examples:
  deeplab-miou evaluate drive/ --checkpoint model.safetensors --output results
  deeplab-miou evaluate 'drives/*' --checkpoint model.safetensors --output results
  deeplab-miou evaluate drives/ --checkpoint model.safetensors --output results --ray
  deeplab-miou evaluate drive.mcap --prediction-topic /segmentation --labels cityscapes
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.usage = "%(prog)s BAG... (--checkpoint FILE | --prediction-topic TOPIC) [options]"
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "bags",
        metavar="BAG",
        nargs="+",
        help="rosbag2 folder, .mcap file or .db3 file. Several bags, a folder of bags or a quoted "
        "pattern such as 'drives/*' are scored separately and together; with --output, an "
        "interrupted run can be resumed",
    )
    predictions = parser.add_argument_group("predictions (one is required)")
    one = predictions.add_mutually_exclusive_group(required=True)
    one.add_argument(
        "--checkpoint",
        default="",
        metavar="FILE",
        help="checkpoint file of the network to run, or 'demo' for the bundled one",
    )
    one.add_argument(
        "--prediction-topic",
        default="",
        metavar="TOPIC",
        help="score predictions that are already in the bag, as label images",
    )
    add_arguments(parser, EngineOptions, leave_out=("source", "checkpoint"))
    add_arguments(parser, OfflineOptions)
    add = parser.add_argument_group("output").add_argument
    add(
        "--output",
        metavar="DIR",
        help="write report.json, report.html, report.md and the counts of each frame to this "
        "folder; with several bags, also write those of each bag to DIR/bags/NAME",
    )
    add(
        "--record",
        default="",
        metavar="DIR",
        help="also record the score over time, the outcome of each frame and small overlays to a "
        "new rosbag2, at the images' stamps and on the topics of the nodes, to view or play "
        "together with the drive",
    )
    add(
        "--format",
        choices=("table", "json"),
        default="table",
        help="what to print (default: %(default)s)",
    )
    add(
        "--quiet",
        action="store_true",
        help="do not show progress and the table; --output still writes the report",
    )
    add_arguments(parser, CriteriaOptions)
    parser.add_argument_group("cluster").add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="evaluate bags and parts of long bags in parallel on a Ray cluster; without ADDRESS: "
        "the one at RAY_ADDRESS or on this machine, otherwise all GPUs or cores of this machine",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and report; return the exit code.

    Raises:
        DeeplabMiouError: nothing could be evaluated or written.
    """
    from deeplab_miou.offline import terminal  # noqa: PLC0415  (--help needs none of what it needs)

    return terminal.run(arguments)
