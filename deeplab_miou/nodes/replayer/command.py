"""The command line of bag_replayer, and how it ends.

There is one way to tell it: ROS parameters, from a file, a launch file or the command line. The bag
alone may also be given bare, because shells complete file names only there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.options.node_parser import node_parser
from deeplab_miou.options.replayer import ReplayerOptions

if TYPE_CHECKING:
    import argparse

EXIT_OK, EXIT_LOSS, EXIT_USAGE, EXIT_DAMAGED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

EXIT_STATUS = """\
exit status:
  0    everything was sent and, if paced, accounted for
  1    a node was missing or stalled, frames were lost, or another node published frames
  2    a parameter is wrong, or the bag or a topic does not exist
  3    the bag is damaged: what could be read was played (and scored, if paced)
  130  interrupted before the end (0 if it loops, as there is no other way to end it)
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser for the command line without ROS arguments."""
    made = node_parser(
        "bag_replayer",
        "Play a rosbag2 as recorded, or paced so that the evaluators score all of it.",
        ReplayerOptions,
        EXIT_STATUS,
    )
    made.usage = "bag_replayer [-h] [BAG] [--ros-args -p NAME:=VALUE ...]"
    made.add_argument("bag", nargs="?", metavar="BAG", help="sets the parameter bag")
    return made
