"""How a subcommand becomes a node."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.lifecycle import LifecycleOptions

if TYPE_CHECKING:
    import argparse

# Options of a node that its subcommand does not have.
LEFT_OUT = frozenset(each.name for each in options_of(LifecycleOptions))


def become_node(module: str, declared: type, arguments: argparse.Namespace) -> NoReturn:
    """Become a node, which ends with Ctrl-C.

    Args:
        module: of the node.
        declared: its options.
        arguments: the parsed command line, with its `command`.

    Raises:
        ConfigurationError: ROS 2 is not there.
    """
    try:
        __import__("rclpy")
        __import__("deeplab_miou_msgs.msg")
    except ImportError as error:
        raise ConfigurationError(
            f"{arguments.command} needs ROS 2 and deeplab_miou_msgs ({error}): source your "
            "workspace, or run `make setup`"
        ) from error
    given = [
        part
        for each in options_of(declared)
        if each.name not in LEFT_OUT
        for part in ("-p", f"{each.name}:={getattr(arguments, each.name)}")
    ]
    command = [sys.executable, "-m", module, "--ros-args", *given]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "-p", "autostart_exit_on_failure:=true"])  # noqa: S606
