"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from deeplab_miou.errors import ConfigurationError


def user_path(name: str | Path) -> Path:
    """Return a path in which ``~`` and ``~user`` stand for a home directory.

    Raises:
        ConfigurationError: there is no such user.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            f"path {str(name)!r} begins with a user's home directory that cannot be found: "
            "write it in full"
        ) from None
