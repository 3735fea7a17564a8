"""rosbag2 bags in and out: MCAP and SQLite, compressed or not, whole or damaged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from deeplab_miou.accounting import Reason
from deeplab_miou.bag_files import BagFile, bag_files
from deeplab_miou.bag_recovery import decompress, decompress_file, is_compressed
from deeplab_miou.errors import BagError, ConfigurationError, FrameError
from deeplab_miou.images import CompressedImage, ImageMessage, RawImage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from deeplab_miou.bag_recovery import Channel

RAW_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (RAW_TYPE, COMPRESSED_TYPE)

_NS = 1_000_000_000
# What image publishers offer by default (rmw_qos_profile_default).
_DEFAULT_QOS = Qos(
    QosHistory.KEEP_LAST,
    10,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    QosTime(0, 0),
    QosTime(0, 0),
    QosLiveliness.SYSTEM_DEFAULT,
    QosTime(0, 0),
    avoid_ros_namespace_conventions=False,
)


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag.

    Attributes:
        type: full name of the message type, ``sensor_msgs/msg/Image``.
        count: messages recorded; of a damaged bag, those that can be read.
        serialization: ``cdr`` in bags that ROS 2 wrote.
        qos: profiles that the recorded publishers offered, possibly none.
    """

    type: str
    count: int
    serialization: str
    qos: tuple[Qos, ...]


class BagMessage(NamedTuple):
    """One recorded message as it was on the wire.

    Attributes:
        topic: name of its topic.
        type: full name of its type.
        timestamp_ns: when it was recorded, in nanoseconds (not its header stamp).
        data: the serialised message.
    """

    topic: str
    type: str
    timestamp_ns: int
    data: bytes


class StampedImage(NamedTuple):
    """An image message with its header.

    Attributes:
        stamp_ns: header stamp in nanoseconds.
        frame_id: the header's coordinate frame.
        image: the image; its data is a view of the recorded bytes.
    """

    stamp_ns: int
    frame_id: str
    image: ImageMessage


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
        self._files: list[BagFile] = []
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
            for record in file.records(names, start_ns, stop_ns, self.problems):
                data = record.data
                if is_compressed(data):
                    try:
                        data = decompress(data)
                    except ValueError as error:
                        self.problems.append(
                            f"{file.path.name}: message of {record.channel.topic} at "
                            f"{record.timestamp_ns} ns: {error}"
                        )
                        continue
                channel = record.channel
                yield BagMessage(channel.topic, channel.type, record.timestamp_ns, data)
        if self.problems:
            raise BagError(
                f"bag {str(self.path)!r} is damaged: {'; '.join(dict.fromkeys(self.problems))}; "
                f"what could be read was read"
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

    def decode_image(self, message: BagMessage) -> StampedImage:
        """Return the image that a message holds; its data is a view, not a copy.

        Args:
            message: a ``sensor_msgs/msg/Image`` or ``CompressedImage``.

        Raises:
            ConfigurationError: it is of another type.
            FrameError: its bytes are not such a message.
        """
        if message.type not in IMAGE_TYPES:
            raise ConfigurationError(
                f"topic {message.topic!r} is of type {message.type}, expected "
                f"{' or '.join(IMAGE_TYPES)}"
            )
        try:
            # A memoryview, because the deserialiser slices: slicing bytes would copy the payload.
            decoded: Any = _typestore().deserialize_cdr(memoryview(message.data), message.type)
        except SerdeError as error:
            raise FrameError(
                Reason.TRUNCATED_DATA,
                f"message of {message.topic} recorded at {message.timestamp_ns} ns is not a valid "
                f"{message.type}: {error}",
            ) from None
        stamp = decoded.header.stamp
        image: ImageMessage
        if message.type == RAW_TYPE:
            image = RawImage(
                height=decoded.height,
                width=decoded.width,
                encoding=decoded.encoding,
                is_bigendian=bool(decoded.is_bigendian),
                step=decoded.step,
                data=decoded.data,
            )
        else:
            image = CompressedImage(format=decoded.format, data=decoded.data)
        return StampedImage(stamp.sec * _NS + stamp.nanosec, decoded.header.frame_id, image)

    def _open(self) -> None:
        paths, declared = bag_files(self.path, self.problems)
        for path in paths:
            self._files.append(self._open_file(path))
        counts: Counter[str] = Counter()
        channels: dict[str, Channel] = {}
        for file in self._files:
            self.problems += file.problems
            for channel, count in file.channels.items():
                channels.setdefault(channel.topic, channel)
                counts[channel.topic] += count
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

    def _open_file(self, path: Path) -> BagFile:
        if path.suffix not in {".zstd", ".zst"}:
            return BagFile(path)
        if self._temporary is None:
            self._temporary = TemporaryDirectory(prefix="deeplab_miou_")
        unpacked = Path(self._temporary.name, path.stem)
        decompress_file(path, unpacked, self.problems)
        return BagFile(unpacked)


class BagWriter:
    """Writes a new rosbag2 that ``ros2 bag play`` accepts; a context manager.

    Args:
        path: folder to create.
        storage: format of its file.
        compression: Zstandard over each message, over the file, or over MCAP's chunks.

    Raises:
        BagError: the folder exists already or cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        storage: Literal["mcap", "sqlite3"] = "mcap",
        compression: Literal["none", "message", "file", "chunk"] = "none",
    ) -> None:
        self.path = Path(path)
        modes = {"chunk": CompressionMode.STORAGE}
        try:
            self._writer = Writer(
                self.path,
                version=Writer.VERSION_LATEST,
                storage_plugin=StoragePlugin[storage.upper()],
            )
            self._writer.set_compression(
                modes.get(compression) or CompressionMode[compression.upper()],
                CompressionFormat.ZSTD,
            )
        except WriterError as error:
            raise BagError(f"bag {str(self.path)!r} cannot be written: {error}") from None
        self._connections: dict[tuple[str, str], Connection] = {}

    def __enter__(self) -> Self:
        """Create the bag's folder and file."""
        try:
            self._writer.open()
        except (OSError, WriterError) as error:
            raise BagError(f"bag {str(self.path)!r} cannot be written: {error}") from error
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Write index and metadata; after an error leave the file as a crash would."""
        try:
            self._writer.__exit__(exc_type, exc_val, exc_tb)
        except OSError as error:
            raise BagError(f"bag {str(self.path)!r} cannot be written: {error}") from error

    def add_topic(self, topic: str, type_name: str, qos: tuple[Qos, ...] = (_DEFAULT_QOS,)) -> None:
        """Declare a topic; writing to an undeclared one declares it with the default QoS.

        Args:
            topic: its name.
            type_name: full name of its message type.
            qos: profiles that its publishers offer.
        """
        self._connections[topic, type_name] = self._writer.add_connection(
            topic, type_name, typestore=_typestore(), offered_qos_profiles=qos
        )

    def write(self, topic: str, type_name: str, timestamp_ns: int, data: bytes) -> None:
        """Write one serialised message as it is.

        Args:
            topic: name of its topic.
            type_name: full name of its type.
            timestamp_ns: recording time in nanoseconds.
            data: CDR bytes.

        Raises:
            BagError: the disk does not take it.
        """
        if (topic, type_name) not in self._connections:
            self.add_topic(topic, type_name)
        try:
            self._writer.write(self._connections[topic, type_name], timestamp_ns, data)
        except OSError as error:
            raise BagError(f"bag {str(self.path)!r} cannot be written: {error}") from error

    def write_image(
        self,
        topic: str,
        stamp_ns: int,
        frame_id: str,
        image: ImageMessage,
        timestamp_ns: int | None = None,
    ) -> None:
        """Write one image message.

        Args:
            topic: name of its topic.
            stamp_ns: header stamp in nanoseconds.
            frame_id: the header's coordinate frame.
            image: the image; its data is written as it is, valid or not.
            timestamp_ns: recording time in nanoseconds; the stamp when None.

        Raises:
            BagError: the disk does not take it.
        """
        types = _typestore().types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, _NS))
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
        data = np.frombuffer(image.data, np.uint8)
        message: object
        if isinstance(image, RawImage):
            type_name = RAW_TYPE
            message = types[type_name](
                header=header,
                height=image.height,
                width=image.width,
                encoding=image.encoding,
                is_bigendian=int(image.is_bigendian),
                step=image.step,
                data=data,
            )
        else:
            type_name = COMPRESSED_TYPE
            message = types[type_name](header=header, format=image.format, data=data)
        recorded_ns = stamp_ns if timestamp_ns is None else timestamp_ns
        self.write(topic, type_name, recorded_ns, _typestore().serialize_cdr(message, type_name))


@cache
def _typestore() -> Any:  # noqa: ANN401  (rosbags generates the message classes)
    """Return the standard message types; images are the same in every ROS 2 distribution."""
    return get_typestore(Stores.ROS2_JAZZY)
