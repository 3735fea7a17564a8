"""The arguments of a command line that are not ROS 2's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.utilities import remove_ros_args

from deeplab_miou.text import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def parse_own(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a command line that are not ROS 2's.

    Args:
        parser: for the rest.
        arguments: the command line, with the program first.

    Raises:
        SystemExit: an argument is wrong, ROS 2's included; with status 2 and a line that says so.
    """
    try:
        own = remove_ros_args(list(arguments))[1:]
    except Exception as error:  # noqa: BLE001  rclpy's argument errors have no common base
        parser.error(printable(" ".join(str(error).split())))
    return parser.parse_args(own)
