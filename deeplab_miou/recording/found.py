"""Tells recordings of scores from the drives that they lie next to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeplab_miou.bags.folder import storage_files
from deeplab_miou.bags.metadata import read_metadata_file
from deeplab_miou.errors import ConfigurationError
from deeplab_miou.recording.messages import FRAME_SCORE, MEAN_IOU

if TYPE_CHECKING:
    from pathlib import Path


def is_recording(path: Path) -> bool:
    """Return whether a bag has nothing but what recordings have.

    Args:
        path: the bag's folder, or a file in it.
    """
    folder = path if path.is_dir() else path.parent
    try:
        # YAML is slow, and there may be thousands of drives.
        if MEAN_IOU.encode() not in read_metadata_file(folder):
            return False
        _, channels = storage_files(folder, [])
    except (ConfigurationError, OSError, ValueError):
        return False
    scores = {MEAN_IOU, FRAME_SCORE}
    return all(
        each.type in scores or topic.endswith("/overlay") for topic, each in channels.items()
    )
