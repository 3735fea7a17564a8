"""The command ``miou_single_process``, also ``python -m deeplab_miou.nodes.single_process``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the nodes; return their exit status."""
    return run("deeplab_miou.nodes.single_process.program")


if __name__ == "__main__":
    sys.exit(main())
