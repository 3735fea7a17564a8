"""``deeplab-miou inspect``: shows what a bag or a checkpoint holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.bags.folder import is_bag
from deeplab_miou.bags.lost_messages import read_lost_messages
from deeplab_miou.bags.reader import BagReader
from deeplab_miou.model.checkpoints import inspect_command

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_NS = 1_000_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    inspect_command.configure(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what a bag or a checkpoint is.

    Raises:
        ConfigurationError: it cannot be read.
        BagError: nothing of the bag can be read.
    """
    if not arguments.file.exists() or not is_bag(arguments.file):
        return inspect_command.run(arguments)
    inspect_command.print_facts(_facts(arguments.file), arguments.format)
    return 0


def _facts(path: Path) -> dict[str, object]:
    with BagReader(path) as reader:
        losses = read_lost_messages(reader, reader.topics)
        lost = {name: str(loss) for name, loss in losses.of_topics.items()}
        return {
            "bag": str(path),
            "messages": sum(each.count for each in reader.topics.values()),
            "start_s": reader.start_ns / _NS,
            "duration_s": reader.duration_ns / _NS,
            "topics": {name: f"{each.count} {each.type}" for name, each in reader.topics.items()},
            # Without a report nothing is known, least of all that nothing was lost.
            **({"lost_by_recorder": lost} if lost else {}),
            "problems": [*reader.problems, *losses.problems],
        }
