"""Finds the files that ship with the package, in a source tree or an installation."""

from __future__ import annotations

from pathlib import Path


def share_directory() -> Path:
    """Return the folder that holds ``config/`` and ``launch/``.

    Found without the ament index, so that nothing needs to be sourced: next to the package in a
    source tree (or a symlink install), else ``share/deeplab_miou`` of the prefix that the package
    is installed in.

    Raises:
        FileNotFoundError: the installation lacks its share folder.
    """
    package = Path(__file__).resolve().parent
    if (package.parent / "config" / "labels").is_dir():
        return package.parent
    for prefix in package.parents:
        share = prefix / "share" / "deeplab_miou"
        if share.is_dir():
            return share
    raise FileNotFoundError(
        f"no share/deeplab_miou above {package}: the installation is incomplete, run colcon build"
    )
