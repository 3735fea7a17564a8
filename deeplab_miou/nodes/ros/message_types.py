"""Classes of messages by their names."""

from __future__ import annotations

import importlib


def message_class(type_name: str) -> type | None:
    """Return the class of a type such as ``sensor_msgs/msg/Image``; None if not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None
