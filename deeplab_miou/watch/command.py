"""``deeplab-miou watch``: a page in the browser that shows the scores of a running graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.watch import WatchOptions
from deeplab_miou.watch.become_node import LEFT_OUT, become_node

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    add_arguments(parser, WatchOptions, leave_out=LEFT_OUT)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> NoReturn:
    """Become the node ``miou_watch``.

    Args:
        arguments: the parsed command line.

    Raises:
        ConfigurationError: ROS 2 is not there.
    """
    become_node("deeplab_miou.nodes.watch", WatchOptions, arguments)
