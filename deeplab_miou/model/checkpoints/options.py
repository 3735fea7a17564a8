"""What a user may say of a checkpoint that its file does not: as command-line options."""

from __future__ import annotations

import argparse
import re


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--output-stride``, ``--input-size``, ``--mean`` and ``--std``."""
    group = parser.add_argument_group("what the checkpoint's file does not know")
    add = group.add_argument
    add(
        "--output-stride",
        type=int,
        choices=(8, 16),
        default=0,
        help="of a file of weights (default: the one of its code base)",
    )
    add(
        "--input-size",
        type=size,
        metavar="HxW",
        help="resize images to this for the network (default: as the file says, else as they are)",
    )
    for name, what in (("mean", "subtracted from"), ("std", "divides")):
        add(
            f"--{name}",
            type=triple,
            metavar="R,G,B",
            help=f"{what} RGB in 0..1 (default: as the file says, else ImageNet's)",
        )


def size(text: str) -> tuple[int, int]:
    """Return (height, width) of text such as ``512x1024``.

    Raises:
        argparse.ArgumentTypeError: it is no such text.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no HEIGHTxWIDTH, such as 512x1024")
    return int(found[1]), int(found[2])


def triple(text: str) -> tuple[float, float, float]:
    """Return three numbers of text such as ``0.485,0.456,0.406``.

    Raises:
        argparse.ArgumentTypeError: it is no such text.
    """
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers R,G,B") from None
    return red, green, blue
