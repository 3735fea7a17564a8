"""``deeplab-miou foxglove``: a server that Foxglove connects to, for a running graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.nodes import FoxgloveOptions
from deeplab_miou.watch.become_node import LEFT_OUT, become_node

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: Any, **texts: str) -> None:  # noqa: ANN401  (argparse hides its type)
    """Add the subcommand.

    Args:
        subparsers: what ``add_subparsers`` returned.
        texts: help and description.
    """
    parser = subparsers.add_parser("foxglove", **texts)
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
