"""Writes bags that ``ros2 bag play`` accepts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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

from deeplab_miou.bags.images import serialise_image
from deeplab_miou.bags.images import typestore as standard_types
from deeplab_miou.errors import BagError
from deeplab_miou.images.cdr import StampedImage

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from deeplab_miou.images.messages import ImageMessage

# The newest that Humble plays: from 9 on, QoS profiles are written as it cannot read them ("bad
# conversion"). Later players read it, too.
_VERSION: Literal[8] = 8
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


class BagWriter:
    """Writes a new rosbag2 that ``ros2 bag play`` accepts; a context manager.

    Args:
        path: folder to create.
        storage: format of its file.
        compression: Zstandard over each message, over the file, or over MCAP's chunks.
        typestore: definitions of the messages to write; the standard ones by default.

    Raises:
        BagError: the folder exists already or cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        storage: Literal["mcap", "sqlite3"] = "mcap",
        compression: Literal["none", "message", "file", "chunk"] = "none",
        typestore: Any = None,  # noqa: ANN401  (rosbags generates the message classes)
    ) -> None:
        self.path = Path(path)
        self._typestore = standard_types() if typestore is None else typestore
        modes = {"chunk": CompressionMode.STORAGE}
        try:
            self._writer = Writer(
                self.path,
                version=_VERSION,
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

    def abandon(self) -> None:
        """Leave the file as a crash would; nothing is written any more."""
        with suppress(OSError):
            self._writer.__exit__(OSError, OSError(), None)

    def add_topic(self, topic: str, type_name: str, qos: tuple[Qos, ...] = (_DEFAULT_QOS,)) -> None:
        """Declare a topic; writing to an undeclared one declares it with the default QoS.

        Args:
            topic: its name.
            type_name: full name of its message type.
            qos: profiles that its publishers offer.
        """
        self._connections[topic, type_name] = self._writer.add_connection(
            topic, type_name, typestore=self._typestore, offered_qos_profiles=qos
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
        type_name, data = serialise_image(StampedImage(stamp_ns, frame_id, image))
        self.write(topic, type_name, stamp_ns if timestamp_ns is None else timestamp_ns, data)
