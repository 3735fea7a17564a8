"""``deeplab-miou foxglove``: a server that Foxglove connects to, for a running graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.foxglove import FoxgloveOptions
from deeplab_miou.watch.become_node import LEFT_OUT, become_node

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    add_arguments(parser, FoxgloveOptions, leave_out=LEFT_OUT)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> NoReturn:
    """Become the node ``miou_foxglove``.

    Args:
        arguments: the parsed command line.

    Raises:
        ConfigurationError: ROS 2 is not there.
    """
    become_node("deeplab_miou.nodes.foxglove", FoxgloveOptions, arguments)
