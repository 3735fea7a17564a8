"""The command ``miou_foxglove``, also ``python -m deeplab_miou.nodes.foxglove``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the node; return its exit status."""
    return run("deeplab_miou.nodes.foxglove.node")


if __name__ == "__main__":
    sys.exit(main())
