"""The command ``deeplab_evaluator``, also ``python -m deeplab_miou.nodes.evaluator``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the node; return its exit status."""
    return run("deeplab_miou.nodes.evaluator.node")


if __name__ == "__main__":
    sys.exit(main())
