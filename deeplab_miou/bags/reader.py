"""Reads a bag, intact or damaged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deeplab_miou.bags.compression import decompress, decompress_file, is_compressed
from deeplab_miou.bags.contents import BagMessage, TopicInfo
from deeplab_miou.bags.folder import storage_files
from deeplab_miou.bags.storage import StorageFile
from deeplab_miou.errors import BagError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from deeplab_miou.bags.contents import Channel

_NS = 1_000_000_000


class BagReader:
    """Reads a rosbag2: a folder, or a single ``.mcap`` or ``.db3`` file without its metadata.

    A context manager; files are open in between. A truncated or damaged bag opens as long as
    anything of it can be read: what is readable is read, the rest is in `problems`.

    Args:
        path: the bag's folder, or one of its files.

    Attributes:
        path: the bag as given.
        topics: what it holds, by topic name.
        start_ns: recording time of the first message, 0 for an empty bag.
        duration_ns: from the first to the last message.
        problems: what was found damaged so far, a line each.

    Raises:
        ConfigurationError: there is no bag at the path (raised on entering the context).
        BagError: nothing of it can be read (likewise).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.topics: Mapping[str, TopicInfo] = {}
        self.start_ns = 0
        self.duration_ns = 0
        self.problems: list[str] = []
        self._files: list[StorageFile] = []
        self._temporary: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        """Open the bag's files."""
        try:
            self._open()
        except OSError as error:
            self.close()
            raise BagError(f"bag {str(self.path)!r} cannot be read: {error}") from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Close the bag's files."""
        self.close()

    def close(self) -> None:
        """Close the files and remove what was decompressed; may be called again."""
        for file in self._files:
            file.close()
        self._files.clear()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Read messages in recording order.

        Args:
            topics: names to read; all when None.
            start_ns: only messages recorded at or after this time.
            stop_ns: only messages recorded before this time.

        Yields:
            Messages with their serialised bytes.

        Raises:
            ConfigurationError: a topic is not in the bag.
            BagError: part of the bag could not be read; raised after all that could.
        """
        names = set(self.topics if topics is None else topics)
        for name in names:
            self.require(name)
        for file in self._files:
            for stored in file.messages(names, start_ns, stop_ns, self.problems):
                data = stored.data
                if is_compressed(data):
                    try:
                        data = decompress(data)
                    except ValueError as error:
                        self.problems.append(
                            f"{file.path.name}: message of {stored.channel.topic} at "
                            f"{stored.timestamp_ns} ns: {error}"
                        )
                        continue
                channel = stored.channel
                yield BagMessage(channel.topic, channel.type, stored.timestamp_ns, data)
        if self.problems:
            raise BagError(
                f"bag {str(self.path)!r} is damaged: {'; '.join(dict.fromkeys(self.problems))}; "
                f"what could be read was used"
            )

    def require(self, topic: str, types: Collection[str] = ()) -> TopicInfo:
        """Return a topic that must be there.

        Args:
            topic: its name.
            types: types that it may have; any when empty.

        Raises:
            ConfigurationError: it is missing or of another type; names those that could be meant.
        """
        info = self.topics.get(topic)
        if info is not None and (not types or info.type in types):
            return info
        alike = {
            name: each for name, each in self.topics.items() if not types or each.type in types
        }
        listed = ", ".join(f"{name} ({each.type})" for name, each in sorted(alike.items()))
        wanted = f"topics of type {' or '.join(types)}" if types else "topics"
        problem = "is not there" if info is None else f"is of type {info.type}"
        hint = f"; did you mean {next(iter(alike))}?" if len(alike) == 1 else ""
        raise ConfigurationError(
            f"topic {topic!r} of bag {str(self.path)!r} {problem}; "
            f"{wanted} in it: {listed or 'none'}{hint}"
        )

    def section(self, start_s: float = 0.0, duration_s: float | None = None) -> tuple[int, int]:
        """Return when a part of the bag begins and ends, as `messages` takes it.

        Args:
            start_s: seconds after the first message to begin at.
            duration_s: recorded seconds from there on; None for all that follow.

        Raises:
            ConfigurationError: the bag is over before.
        """
        length_s = self.duration_ns / _NS
        if start_s > length_s:
            raise ConfigurationError(
                f"start is {start_s:g} s, but bag {str(self.path)!r} ends after {length_s:.1f} s"
            )
        start_ns = self.start_ns + round(start_s * _NS)
        stop_ns = self.start_ns + self.duration_ns + 1
        if duration_s is not None:
            stop_ns = min(stop_ns, start_ns + round(duration_s * _NS))
        return start_ns, stop_ns

    def _open(self) -> None:
        try:
            paths, declared = storage_files(self.path, self.problems)
        except (OSError, ValueError) as error:  # a name that cannot be one is a ValueError
            raise ConfigurationError(f"bag {str(self.path)!r} cannot be opened: {error}") from None
        for path in paths:
            self._files.append(self._open_file(path))
        counts: Counter[str] = Counter()
        channels: dict[str, Channel] = {}
        for file in self._files:
            self.problems += file.problems
            for channel, count in file.channels.items():
                channels.setdefault(channel.topic, channel)
                counts[channel.topic] += count
        if any(channel.serialization == "ros1" for channel in channels.values()):
            raise ConfigurationError(
                f"bag {str(self.path)!r} is a recording of ROS 1: convert it to ROS 2 first, with "
                "rosbags-convert from its .bag file"
            )
        if not channels and self.problems:
            raise BagError(f"bag {str(self.path)!r} cannot be read: {'; '.join(self.problems)}")
        for topic, channel in declared.items():
            channels.setdefault(topic, channel)
        self.topics = {
            topic: TopicInfo(channel.type, counts[topic], channel.serialization, channel.qos)
            for topic, channel in sorted(channels.items())
        }
        filled = [file for file in self._files if file.end_ns >= file.start_ns]
        if filled:
            self.start_ns = min(file.start_ns for file in filled)
            self.duration_ns = max(file.end_ns for file in filled) - self.start_ns

    def _open_file(self, path: Path) -> StorageFile:
        if path.suffix not in {".zstd", ".zst"}:
            return StorageFile(path)
        if self._temporary is None:
            self._temporary = TemporaryDirectory(prefix="deeplab_miou_")
        unpacked = Path(self._temporary.name, path.stem)
        decompress_file(path, unpacked, self.problems)
        return StorageFile(unpacked)
