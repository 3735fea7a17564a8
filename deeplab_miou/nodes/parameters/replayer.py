"""What bag_replayer can be told, and how it ends.

There is one way to tell it: ROS parameters, from a file, a launch file or the command line. The bag
alone may also be given bare, because shells complete file names only there.
"""

from __future__ import annotations

import argparse

from deeplab_miou.nodes.parameters.table import Parameter

EXIT_OK, EXIT_LOSS, EXIT_USAGE, EXIT_DAMAGED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

EXIT_STATUS = """\
exit status:
  0    everything was sent and, if paced, accounted for
  1    an evaluator or the publisher was missing or stalled, or frames were lost
  2    a bad parameter, no such bag or topic
  3    the bag is damaged: what could be read was played (and scored, if paced)
  130  interrupted before the end (0 if it loops, which has no other end)
"""

_LONGEST_S = 1e6

PARAMETERS = (
    Parameter("bag", "", "rosbag2 to play: a folder, or an .mcap or .db3 file"),
    Parameter("topics", [], "topics to play; if empty, all whose message type is installed"),
    Parameter(
        "paced",
        default=False,
        description="send as fast as the evaluators score and lose nothing; rate is then unused",
    ),
    Parameter(
        "rate",
        1.0,
        "recorded seconds to play in one second, unless paced",
        minimum=0.001,
        maximum=1000.0,
    ),
    Parameter(
        "start",
        0.0,
        "seconds after the bag's first message to start at",
        minimum=0,
        maximum=_LONGEST_S,
    ),
    Parameter(
        "duration",
        0.0,
        "recorded seconds to play from start on; 0 plays to the end",
        minimum=0,
        maximum=_LONGEST_S,
    ),
    Parameter("loop", default=False, description="begin again at the end, until interrupted"),
    Parameter(
        "clock_rate",
        40.0,
        "messages on /clock in a second: a recorded one if paced, else a real one; 0 for no /clock",
        minimum=0,
        maximum=10_000,
    ),
    Parameter("evaluators", ["/deeplab_evaluator"], "nodes that a paced replay is paced by"),
    Parameter(
        "in_flight",
        8,
        "if paced, the most messages on their way to an evaluator and pairs queued or in work in "
        "it; at most its queue_size and input_depth",
        minimum=1,
        maximum=1000,
    ),
    Parameter("publisher", "", "miou_publisher to save its report at the end; none if empty"),
    Parameter(
        "startup_timeout",
        60.0,
        "seconds to wait for evaluators, publisher and subscribers before the first message",
        minimum=0,
        maximum=_LONGEST_S,
    ),
    Parameter(
        "stall_timeout",
        60.0,
        "seconds without any progress after which a paced replay gives up",
        minimum=0.1,
        maximum=_LONGEST_S,
    ),
    Parameter(
        "wait_for_subscribers", [], "topics that must have a subscriber before the first message"
    ),
    Parameter(
        "progress",
        default=True,
        description="show progress on stderr: a bar on a terminal, else a line every 10 s",
    ),
)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line that is left without ROS arguments."""
    width = max(len(parameter.name) for parameter in PARAMETERS)
    lines = [
        f"  {parameter.name:{width}}  {parameter.description} (default {parameter.default!r})"
        for parameter in PARAMETERS
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
