"""The command ``miou_comparer``, also ``python -m deeplab_miou.nodes.comparer``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the node; return its exit status."""
    return run("deeplab_miou.nodes.comparer.node")


if __name__ == "__main__":
    sys.exit(main())
