"""The command ``miou_watch``, also ``python -m deeplab_miou.nodes.watch``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the node; return its exit status."""
    return run("deeplab_miou.nodes.watch.node")


if __name__ == "__main__":
    sys.exit(main())
