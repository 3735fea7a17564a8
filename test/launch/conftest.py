"""The launch files under upstream's launch, which starts what the ament index knows."""

from __future__ import annotations

from pathlib import Path

import pytest


def _reason_to_skip():
    try:
        from ament_index_python.packages import (  # noqa: PLC0415
            PackageNotFoundError,
            get_package_prefix,
        )
    except ImportError:
        return "ROS 2 is not installed"
    try:
        get_package_prefix("deeplab_miou")
    except (PackageNotFoundError, OSError):  # OSError: nothing is sourced
        return "deeplab_miou is not in AMENT_PREFIX_PATH"
    return ""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    reason = _reason_to_skip()
    for item in items:
        if here in item.path.parents and reason and item.path.name != "test_arguments.py":
            item.add_marker(pytest.mark.skip(reason=reason))
