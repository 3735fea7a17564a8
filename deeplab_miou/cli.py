"""The command ``deeplab-miou``: each subcommand is a function of its own module."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from deeplab_miou import __version__, start
from deeplab_miou.errors import BagError, DeeplabMiouError
from deeplab_miou.exit_codes import DAMAGED_BAG, INTERRUPTED, OUTPUT_CLOSED, WRONG
from deeplab_miou.text import capitalized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType


class Command(NamedTuple):
    """A subcommand.

    Its module has ``configure(parser)``: it adds the arguments, and sets ``run`` as default, a
    function from the parsed arguments to the exit code. It is imported only when the command is
    called.

    Attributes:
        name: what the user types.
        module: module to import.
        summary: one line of help.
    """

    name: str
    module: str
    summary: str


COMMANDS = (
    Command("evaluate", "deeplab_miou.offline.command", "score a bag: mIoU, IoU per class, report"),
    Command(
        "compare",
        "deeplab_miou.comparison.command",
        "tell whether one network is better than another",
    ),
    Command(
        "inspect", "deeplab_miou.bags.inspect_command", "show what a checkpoint or a bag contains"
    ),
    Command(
        "convert",
        "deeplab_miou.model.checkpoints.convert_command",
        "convert a checkpoint to this project's own format",
    ),
    Command(
        "pack", "deeplab_miou.bags.pack_command", "turn folders of images and labels into a bag"
    ),
    Command("labels", "deeplab_miou.labels.command", "list label maps, or show one"),
    Command("watch", "deeplab_miou.watch.command", "show the scores of running nodes on a page"),
    Command(
        "foxglove",
        "deeplab_miou.watch.foxglove_command",
        "let Foxglove connect to running nodes",
    ),
    Command("demo", "deeplab_miou.demo.command", "score a rendered drive, live and offline"),
)


def build_parser(called: str | None) -> argparse.ArgumentParser:
    """Return the parser, with the options of the subcommand that is called.

    Args:
        called: name of that subcommand; the others are listed without their options, so that
            nothing heavy is imported for them.
    """
    parser = argparse.ArgumentParser(
        prog="deeplab-miou",
        description="Score DeepLabv3+ networks on rosbag2 bags and running ROS 2 nodes: mIoU.",
        epilog="exit codes: 0 done; 1 error; 2 wrong usage; "
        "3 damaged bag, but what could be read was scored; 4 nothing was evaluated; "
        "5 a required score or comparison was not met",
    )
    parser.add_argument("--version", action="version", version=f"deeplab_miou {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=f"{capitalized(command.summary)}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.name == called:
            import_module(command.module).configure(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: command line without the program's name; that of the process by default.

    Returns:
        The exit code, see ``deeplab-miou --help``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _interruptible() as interrupted:
        try:
            return _run(given)
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception:
            # Code that is interrupted during an import or a callback may raise anything.
            if interrupted:
                return INTERRUPTED
            raise


def _run(given: list[str]) -> int:
    called = next((each for each in given if not each.startswith("-")), None)
    parsed = build_parser(called).parse_args(given)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed our output, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED
    except BagError as error:
        return _complain(error, DAMAGED_BAG)
    except DeeplabMiouError as error:
        return _complain(error, WRONG)
    return status


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Record Ctrl-C in the returned list, in addition to raising KeyboardInterrupt as usual."""
    interrupted: list[int] = []
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(
        signal.SIGINT
    ) not in {signal.default_int_handler, start.end}:
        yield interrupted
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        # An object that is just being finished reports it, and nobody needs to see that.
        sys.unraisablehook = lambda _: None
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN if interrupted else signal.default_int_handler)


def _complain(error: DeeplabMiouError, code: int) -> int:
    sys.stderr.write(f"deeplab-miou: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
