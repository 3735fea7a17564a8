"""``deeplab-miou convert``: a DeepLabv3+ checkpoint in our own format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.options.command_line import add_arguments, from_arguments
from deeplab_miou.options.scoring import CheckpointOptions
from deeplab_miou.text import printable

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="DeepLabv3+ checkpoint")
    parser.add_argument(
        "output", type=Path, metavar="OUTPUT", help="file to write, conventionally .safetensors"
    )
    parser.add_argument(
        "--labels", default="", metavar="MAP", help="label map with the classes: a name or a file"
    )
    add_arguments(parser, CheckpointOptions)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write a checkpoint in our own format.

    Raises:
        ConfigurationError: it cannot be read, is a program, or cannot be written.
    """
    from deeplab_miou.labels.label_map import load_label_map  # noqa: PLC0415  (--help needs none of these)
    from deeplab_miou.model.checkpoints import load as checkpoints  # noqa: PLC0415
    from deeplab_miou.model.network.deeplab import DeepLabV3Plus  # noqa: PLC0415

    checkpoint = checkpoints.load_as(
        arguments.file,
        from_arguments(CheckpointOptions, arguments),
        load_label_map(arguments.labels) if arguments.labels else None,
    )
    if not isinstance(checkpoint.network, DeepLabV3Plus):
        raise ConfigurationError(
            f"checkpoint {arguments.file} is a {checkpoint.family} program: it runs unchanged and "
            "holds no weights to convert"
        )
    origin = {
        "converted_from": arguments.file.name,
        "converted_from_sha256": checkpoint.digest,
        "family": checkpoint.family,
    }
    try:
        checkpoints.save(
            arguments.output,
            checkpoint.network,
            label_map=checkpoint.label_map,
            preprocessing=checkpoint.preprocessing,
            provenance={**checkpoint.provenance, **origin},
        )
    except OSError as error:
        raise ConfigurationError(
            f"{arguments.output} cannot be written: {error.strerror or error}"
        ) from error
    sys.stdout.write(printable(checkpoints.describe(checkpoints.load(arguments.output))) + "\n")
    return 0
