"""``deeplab-miou watch``: a page in the browser that shows the scores of a running graph."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.options.command_line import add_arguments
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.nodes import LifecycleOptions, WatchOptions

if TYPE_CHECKING:
    import argparse

_OF_NODES = frozenset(each.name for each in options_of(LifecycleOptions))


def add_parser(subparsers: Any, **texts: str) -> None:  # noqa: ANN401  (argparse hides its type)
    """Add the subcommand.

    Args:
        subparsers: what ``add_subparsers`` returned.
        texts: help and description.
    """
    parser = subparsers.add_parser("watch", **texts)
    add_arguments(parser, WatchOptions, leave_out=_OF_NODES)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> NoReturn:
    """Become the node ``miou_watch``, which ends with Ctrl-C.

    Args:
        arguments: the parsed command line.

    Raises:
        ConfigurationError: ROS 2 is not there.
    """
    try:
        __import__("rclpy")
        __import__("deeplab_miou_msgs.msg")
    except ImportError as error:
        raise ConfigurationError(
            f"watch needs ROS 2 and deeplab_miou_msgs ({error}): source your workspace, or run "
            "`make setup`"
        ) from error
    given = [
        part
        for each in options_of(WatchOptions)
        if each.name not in _OF_NODES
        for part in ("-p", f"{each.name}:={getattr(arguments, each.name)}")
    ]
    command = [sys.executable, "-m", "deeplab_miou.nodes.watch", "--ros-args", *given]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "-p", "autostart_exit_on_failure:=true"])  # noqa: S606
