"""The command ``miou_publisher``, also ``python -m deeplab_miou.nodes.publisher``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the node; return its exit status."""
    return run("deeplab_miou.nodes.publisher.node")


if __name__ == "__main__":
    sys.exit(main())
