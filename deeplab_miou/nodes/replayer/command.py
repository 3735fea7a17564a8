"""The command line of bag_replayer, and how it ends.

There is one way to tell it: ROS parameters, from a file, a launch file or the command line. The bag
alone may also be given bare, because shells complete file names only there.
"""

from __future__ import annotations

import argparse

from deeplab_miou.options.declaration import options_of
from deeplab_miou.options.nodes import ReplayerOptions

EXIT_OK, EXIT_LOSS, EXIT_USAGE, EXIT_DAMAGED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

EXIT_STATUS = """\
exit status:
  0    everything was sent and, if paced, accounted for
  1    an evaluator or the publisher was missing or stalled, frames were lost, or others sent some
  2    a bad parameter, no such bag or topic
  3    the bag is damaged: what could be read was played (and scored, if paced)
  130  interrupted before the end (0 if it loops, which has no other end)
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser for the command line without ROS arguments."""
    options = options_of(ReplayerOptions)
    width = max(len(option.name) for option in options)
    lines = [
        f"  {option.name:{width}}  {option.text} (default: {option.unset or option.default!r})"
        for option in options
    ]
    made = argparse.ArgumentParser(
        prog="bag_replayer",
        description="Play a rosbag2, as recorded or paced so that an evaluator scores all of it.",
        epilog="\n".join(
            [
                "parameters, each set as `--ros-args -p NAME:=VALUE`:",
                *lines,
                "",
                EXIT_STATUS,
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("bag", nargs="?", metavar="BAG", help="the parameter bag, without -p")
    return made
