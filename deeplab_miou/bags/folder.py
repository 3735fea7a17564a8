"""Which storage files make up a bag, and what its metadata says about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from deeplab_miou.bags.contents import Channel
from deeplab_miou.bags.metadata import YAML_ERRORS, read_metadata_file, read_yaml
from deeplab_miou.errors import ConfigurationError

_SUFFIXES = (".mcap", ".db3")
_PACKED = (".zstd", ".zst")
# Plugins that ROS 2 comes with; metadata of old recorders names none.
_STORAGES = ("mcap", "sqlite3", "")
_COMPRESSIONS = ("zstd", "")


class _Metadata(NamedTuple):
    """What metadata.yaml says.

    Attributes:
        files: storage files in order.
        channels: topics by name.
        foreign: the plugin that wrote the bag, if it is not one of ROS 2's own; else nothing.
        is_packed_inside: whether each message is compressed by itself.
    """

    files: list[Path]
    channels: dict[str, Channel]
    foreign: str = ""
    is_packed_inside: bool = False


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
        if not _is_storage(path):
            raise ConfigurationError(
                f"{str(path)!r} is not a bag: expected a folder, an .mcap file or a .db3 file"
            )
        return [path], {}
    if not path.is_dir():
        raise ConfigurationError(
            f"bag {str(path)!r} does not exist: give a rosbag2 folder, an .mcap or a .db3 file"
        )
    metadata = _read_metadata(path, problems)
    present = _present(metadata.files, _unpacked_first(path), problems)
    is_known = any(_is_storage(each) for each in present)
    if metadata.foreign and (metadata.is_packed_inside or not is_known):
        raise ConfigurationError(
            f"bag {str(path)!r} was written with {metadata.foreign}: convert it with `ros2 bag "
            "convert` where that plugin is installed"
        )
    if not present:
        ros1 = any(each.suffix == ".bag" for each in path.iterdir())
        hint = "; it contains ROS 1 bags: convert them with rosbags-convert first" if ros1 else ""
        raise ConfigurationError(
            f"folder {str(path)!r} is not a bag: it contains no .mcap or .db3 file{hint}"
        )
    return present, metadata.channels


def is_bag(path: Path) -> bool:
    """Return whether a path is a storage file, or a folder that contains a bag's files.

    Raises:
        OSError: the folder cannot be read.
    """
    if path.is_dir():
        files = (each for each in path.iterdir() if each.is_file())
        return any(each.name == "metadata.yaml" or _is_storage(each) for each in files)
    return _is_storage(path) and path.is_file()


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Order ``bag_10.mcap`` after ``bag_2.mcap``."""
    parts = re.split(r"([0-9]{1,18})", path.name)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


def _present(listed: list[Path], found: list[Path], problems: list[str]) -> list[Path]:
    """Return the files to read, whatever became of their names since the metadata was written.

    Args:
        listed: what metadata names, in order.
        found: what the folder holds, in order.
        problems: gets a line for each file that is missing.
    """
    by_core = {_core(each): each for each in found}
    present, missing = [], []
    for each in listed:
        file = each if each.is_file() else by_core.get(_core(each))
        present += [file] if file else []
        missing += [] if file else [each.name]
    others = [each for each in found if _core(each) not in {_core(file) for file in present}]
    if not listed or (missing and others):
        # Renamed: the folder knows better than the metadata.
        missing = missing[len(others) :]
        present = found
    problems += [f"{name} is missing" for name in missing]
    return present


def _unpacked_first(folder: Path) -> list[Path]:
    """Return a folder's storage files in order, of a packed and an unpacked one the latter."""
    files = [each for each in folder.iterdir() if _is_storage(each) and each.is_file()]
    by_core: dict[str, Path] = {}
    for each in sorted(files, key=lambda each: each.suffix in _PACKED):
        by_core.setdefault(_core(each), each)
    return sorted(by_core.values(), key=natural_order)


def _is_storage(path: Path) -> bool:
    """Return whether a name is a storage file's; hidden files are not a recorder's."""
    return Path(_core(path)).suffix in _SUFFIXES and not path.name.startswith(".")


def _core(path: Path) -> str:
    """Return a file's name without the ending of its compression."""
    return path.stem if path.suffix in _PACKED else path.name


def _read_metadata(path: Path, problems: list[str]) -> _Metadata:
    """Return what metadata.yaml says; nothing when there is none, as after a recorder's crash."""
    if not (path / "metadata.yaml").exists():
        return _Metadata([], {})
    try:
        information = read_yaml(read_metadata_file(path))["rosbag2_bagfile_information"]
        files = [path / Path(name).name for name in information["relative_file_paths"]]
        declared = [each["topic_metadata"] for each in information["topics_with_message_count"]]
        channels = {
            str(each["name"]): Channel(
                str(each["name"]), str(each["type"]), str(each["serialization_format"]), ()
            )
            for each in declared
        }
        files = [each for each in files if "\0" not in each.name and each.name not in {"", ".."}]
        foreign, inside = _foreign_plugin(information)
    except (*YAML_ERRORS, OSError) as error:
        reason = " ".join(str(error).split())
        problems.append(f"metadata.yaml cannot be used ({type(error).__name__}: {reason})")
        return _Metadata([], {})
    return _Metadata(files, channels, foreign, inside)


def _foreign_plugin(information: dict[str, Any]) -> tuple[str, bool]:
    """Return the plugin that ROS 2 does not come with, and whether each message is packed."""
    storage = str(information.get("storage_identifier") or "")
    packing = str(information.get("compression_format") or "")
    mode = str(information.get("compression_mode") or "").upper()
    if packing not in _COMPRESSIONS and mode in {"FILE", "MESSAGE"}:
        return f"the compression {packing[:40]!r}, expected zstd", mode == "MESSAGE"
    if storage not in _STORAGES:
        return f"the storage plugin {storage[:40]!r}, expected mcap or sqlite3", False
    return "", False
