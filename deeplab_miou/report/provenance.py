"""Where and how a score was made."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from deeplab_miou import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping


def environment(device: str) -> dict[str, object]:
    """Return software versions and the kind of machine, JSON types.

    Args:
        device: where the network ran, such as ``cpu`` or ``cuda:0``; ``none`` without one.
    """
    return {
        "package_version": __version__,
        "python_version": platform.python_version(),
        "numpy_version": _version("numpy"),
        "torch_version": _version("torch"),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu_count": os.cpu_count(),
        "gpu": _gpu_name(device),
    }


def scored_name(provenance: Mapping[str, object]) -> str:
    """Return what was scored, in a word: checkpoint or topic; empty if neither is known."""
    known = provenance.get("checkpoint") or provenance.get("input_topic")
    return Path(str(known)).name if known else ""


def utc(seconds: float) -> str:
    """Return a time in ISO 8601, UTC, to the second.

    Args:
        seconds: seconds since the epoch, as `time.time` returns.
    """
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu_name(device: str) -> str | None:
    # Whoever ran on a GPU has imported torch; nobody else should have to.
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return None
    try:
        return str(torch.cuda.get_device_name(device))
    except (AssertionError, RuntimeError, ValueError):
        return None  # another machine's
