"""Evaluators and their publisher in one process, for computers with little memory.

What they import is in memory once. They talk over DDS as they do in processes of their own, and
behave alike; but if one fails, all end.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from deeplab_miou.nodes.evaluator.node import DeeplabEvaluator, prepare_process
from deeplab_miou.nodes.lifecycle import process
from deeplab_miou.nodes.publisher.node import MiouPublisher
from deeplab_miou.nodes.ros.command_line import parse_own

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Run the nodes that the command line names."""
    arguments = parse_own(_parser(), args or sys.argv)
    names = arguments.evaluator or ["deeplab_evaluator"]
    prepare_process()
    evaluators = [partial(DeeplabEvaluator, name) for name in names]
    process.main(*evaluators, partial(MiouPublisher, arguments.publisher), args=args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="miou_single_process",
        description="Run evaluators and their publisher in one process. Set parameters as for any "
        "node, each for its node: in a parameter file or with -p NODE:NAME:=VALUE.",
    )
    parser.add_argument(
        "--evaluator",
        action="append",
        metavar="NAME",
        help="name of an evaluator; may be repeated (default: deeplab_evaluator)",
    )
    parser.add_argument(
        "--publisher",
        default="miou_publisher",
        metavar="NAME",
        help="name of the publisher (default: %(default)s)",
    )
    return parser
