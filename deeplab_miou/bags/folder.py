"""Which storage files make up a bag, and what its metadata says of them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from deeplab_miou.bags.records import Channel
from deeplab_miou.errors import ConfigurationError

_SUFFIXES = (".mcap", ".db3")


def storage_files(path: Path, problems: list[str]) -> tuple[list[Path], dict[str, Channel]]:
    """Return a bag's storage files in order, and the topics that its metadata declares.

    Args:
        path: the bag's folder, its metadata.yaml, or a single storage file.
        problems: gets a line for missing files and unusable metadata.

    Raises:
        ConfigurationError: there is no bag.
    """
    if path.name == "metadata.yaml":
        path = path.parent
    if path.suffix == ".bag":
        raise ConfigurationError(
            f"{str(path)!r} is a ROS 1 bag: convert it with rosbags-convert first"
        )
    if path.is_file():
        if not any(suffix in _SUFFIXES for suffix in path.suffixes):
            raise ConfigurationError(
                f"{str(path)!r} is no bag: expected a folder, an .mcap file or a .db3 file"
            )
        return [path], {}
    if not path.is_dir():
        raise ConfigurationError(
            f"bag {str(path)!r} does not exist: give a rosbag2 folder, an .mcap or a .db3 file"
        )
    files, declared = _read_metadata(path, problems)
    if not files:
        files = sorted(
            (each for each in path.iterdir() if set(_SUFFIXES) & set(each.suffixes[:1])),
            key=_natural_order,
        )
    present = [each for each in files if each.exists()]
    problems += [f"{each.name} is missing" for each in files if not each.exists()]
    if not present:
        raise ConfigurationError(f"folder {str(path)!r} is no bag: it holds no .mcap or .db3 file")
    return present, declared


def _read_metadata(path: Path, problems: list[str]) -> tuple[list[Path], dict[str, Channel]]:
    """Return what metadata.yaml says; nothing when there is none, as after a recorder's crash."""
    file = path / "metadata.yaml"
    if not file.exists():
        return [], {}
    try:
        information = yaml.safe_load(file.read_bytes())["rosbag2_bagfile_information"]
        files = [path / Path(name).name for name in information["relative_file_paths"]]
        declared = [each["topic_metadata"] for each in information["topics_with_message_count"]]
        channels = {
            each["name"]: Channel(each["name"], each["type"], each["serialization_format"], ())
            for each in declared
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        problems.append(f"metadata.yaml cannot be used ({type(error).__name__}: {reason})")
        return [], {}
    return files, channels


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Order ``bag_10.mcap`` after ``bag_2.mcap``."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]
