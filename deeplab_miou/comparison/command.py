"""``deeplab-miou compare``: is the new network better?"""

from __future__ import annotations

import argparse
import math

from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.criteria import CriteriaOptions
from deeplab_miou.options.offline import OfflineOptions
from deeplab_miou.options.scoring import EngineOptions

_MARGIN = 0.005
_EPILOG = """\
A and B are compared on the same frames, so whatever is hard for both cancels out. With BAG, both
networks are run on each bag, which is read only once; this also shows which pixels changed, with
pictures.
The verdict is about B:
  better       the 95 % interval of the difference lies above 0
  worse        it lies below 0
  equivalent   two one-sided tests show that the difference is smaller than the margin
  no evidence  none of these: more, or different, drives are needed to tell

exit codes:
  0  compared
  1  a folder, checkpoint or topic cannot be used, or the result cannot be written
  2  wrong usage
  3  a bag is damaged: what could be read was compared
  5  the condition of --fail-if-worse, --fail-unless-not-worse or --criteria is not met

examples:
  deeplab-miou evaluate drive/ --checkpoint old.pth --output old
  deeplab-miou evaluate drive/ --checkpoint new.pth --output new
  deeplab-miou compare old new --output comparison --fail-if-worse
  deeplab-miou compare old.pth new.pth drive/ --output comparison
  deeplab-miou compare topic:/segmentation new.pth drive/ --output comparison
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.usage = "%(prog)s A B [BAG...] [options]"
    parser.epilog = _EPILOG
    add = parser.add_argument
    add(
        "a",
        metavar="A",
        help="folder written by `evaluate --output` for the current network; with BAG, its "
        "checkpoint, or topic:NAME for predictions that are already in the bag",
    )
    add("b", metavar="B", help="the same for the network to be judged")
    add(
        "bags",
        metavar="BAG",
        nargs="*",
        help="bags on which to compare two checkpoints, given as to `evaluate`; requires --output",
    )
    add(
        "--output",
        metavar="DIR",
        help="write compare.json, compare.md and compare.html here; with BAG, also DIR/a and DIR/b "
        "as `evaluate` would",
    )
    add(
        "--margin",
        type=_margin,
        default=_MARGIN,
        metavar="IOU",
        help="treat smaller differences in mIoU as irrelevant (default: %(default)s)",
    )
    gate = parser.add_mutually_exclusive_group()
    gate.add_argument(
        "--fail-if-worse",
        type=_margin,
        nargs="?",
        const=0.0,
        metavar="IOU",
        help="exit with 5 if B is shown to be worse than A by more than this (default: 0)",
    )
    gate.add_argument(
        "--fail-unless-not-worse",
        type=_margin,
        metavar="IOU",
        help="exit with 5 unless B is shown not to be worse than A by this much; stricter, as it "
        "also fails if there are too few frames, or B has no score for some that A scored",
    )
    add(
        "--format",
        choices=("table", "json"),
        default="table",
        help="what to print (default: %(default)s)",
    )
    add_arguments(parser, CriteriaOptions)
    add_arguments(parser, EngineOptions, leave_out=("source", "checkpoint"))
    add_arguments(parser, OfflineOptions)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and report; return the exit code.

    Raises:
        DeeplabMiouError: the runs cannot be compared, or nothing can be written.
    """
    from deeplab_miou.comparison import terminal  # noqa: PLC0415  (--help needs none of it)

    return terminal.run(arguments)


def _margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a difference of IoU, 0 to 1, got {text}")
    return value
