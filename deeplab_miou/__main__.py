"""The command ``deeplab-miou``, also ``python -m deeplab_miou``."""

from __future__ import annotations

import sys

from deeplab_miou.start import run


def main() -> int:
    """Run the command; return its exit status."""
    return run("deeplab_miou.cli")


if __name__ == "__main__":
    sys.exit(main())
