"""What can still be read of a damaged bag file, where `rosbags` wants an intact one.

A recorder that crashes leaves an MCAP file without its index and footer, or a SQLite file cut
short or with its newest messages in a write-ahead log. Both formats can be walked from the front:
MCAP record by record (https://mcap.dev/spec), SQLite row by row.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
from binascii import crc32
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import lz4.frame  # type: ignore[import-untyped]
import yaml
from rosbags.rosbag2.metadata import parse_qos

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rosbags.interfaces import Qos

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END, _FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02
_COPY_BYTES = 1 << 20
# A lost inner page of a table hides a few thousand rows; beyond that the rest is taken for lost.
_MAX_ROWS_MISSED = 10_000


class Channel(NamedTuple):
    """A topic as one bag file declares it."""

    topic: str
    type: str
    serialization: str
    qos: tuple[Qos, ...]


class Record(NamedTuple):
    """One recorded message."""

    channel: Channel
    timestamp_ns: int
    data: bytes


def is_compressed(data: bytes) -> bool:
    """Return whether bytes start a Zstandard frame (RFC 8878); no CDR message starts so."""
    return data[:4] == b"\x28\xb5\x2f\xfd"


def decompress(data: bytes) -> bytes:
    """Return the content of a whole Zstandard frame.

    Raises:
        ValueError: the frame is damaged.
    """
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise ValueError(f"damaged Zstandard frame: {error}") from None


def decompress_file(source: Path, target: Path, problems: list[str]) -> None:
    """Write the decompressed content of a Zstandard file, as far as it goes.

    Args:
        source: the compressed file.
        target: the file to write.
        problems: gets a line when the file is cut short or damaged.
    """
    decompressor = zstd.ZstdDecompressor()
    with source.open("rb") as packed, target.open("wb") as unpacked:
        try:
            while data := packed.read(_COPY_BYTES):
                while data:
                    if decompressor.eof:  # frames may follow each other
                        decompressor = zstd.ZstdDecompressor()
                    unpacked.write(decompressor.decompress(data))
                    data = decompressor.unused_data
        except zstd.ZstdError as error:
            problems.append(f"{source.name}: damaged compression, {error}")
            return
    if not decompressor.eof:
        problems.append(f"{source.name}: the compressed file is cut short")


def scan(
    path: Path, problems: list[str], channels: Mapping[int, Channel] | None = None
) -> Iterator[Record]:
    """Yield every readable message of a bag file in file order.

    Args:
        path: an ``.mcap`` or ``.db3`` file.
        problems: gets a line for everything that could not be read.
        channels: channels by id where the file's index could be read; its first chunk, which
            declares them, may be what is damaged.

    Yields:
        Messages; those of one MCAP chunk in time order.
    """
    if path.suffix == ".mcap":
        return _scan_mcap(path, problems, _McapScan(channels or {}))
    return _scan_sqlite(path, problems)


class _McapScan:
    """Schemas and channels seen so far while walking one MCAP file."""

    def __init__(self, channels: Mapping[int, Channel]) -> None:
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, Channel] = dict(channels)

    def record(self, opcode: int, body: bytes | memoryview) -> Record | None:
        """Take one record; a message is returned, schemas and channels are remembered."""
        if opcode == _SCHEMA:
            (number,) = struct.unpack_from("<H", body)
            self._schemas[number] = _string(body, 2)[0]
        elif opcode == _CHANNEL:
            number, schema = struct.unpack_from("<HH", body)
            topic, end = _string(body, 4)
            serialization, end = _string(body, end)
            qos = _string_map(body, end).get("offered_qos_profiles", "")
            self._channels[number] = Channel(
                topic, self._schemas.get(schema, ""), serialization, _parse_qos(qos)
            )
        elif opcode == _MESSAGE:
            number, _, timestamp_ns, _ = struct.unpack_from("<HIQQ", body)
            if number not in self._channels:
                raise ValueError(f"message of the undeclared channel {number}")
            return Record(self._channels[number], timestamp_ns, bytes(body[22:]))
        return None

    def chunk(self, body: bytes, *, whole: bool) -> tuple[list[Record], str]:
        """Return the readable messages of a chunk in time order, and what is wrong with it."""
        _, _, size, crc = struct.unpack_from("<QQQI", body)
        compression, end = _string(body, 28)
        content = _decompress_chunk(compression, memoryview(body)[end + 8 :])
        if whole and (len(content) != size or (crc and crc32(content) != crc)):
            raise ValueError("its content does not match its size and checksum")
        found: list[Record] = []
        wrong = ""
        position = 0
        while position < len(content):
            rest = len(content) - position - 9
            opcode, length = struct.unpack_from("<BQ", content, position) if rest >= 0 else (0, 0)
            if opcode == 0 or length > rest:
                wrong = f"its records break off at byte {position} of {len(content)}"
                break
            position += 9
            try:
                message = self.record(opcode, content[position : position + length])
            except (ValueError, struct.error) as error:
                wrong, message = str(error), None
            if message is not None:
                found.append(message)
            position += length
        return sorted(found, key=lambda message: message.timestamp_ns), wrong


def _scan_mcap(path: Path, problems: list[str], state: _McapScan) -> Iterator[Record]:
    with path.open("rb") as file:
        size = path.stat().st_size
        if file.read(len(_MCAP_MAGIC)) != _MCAP_MAGIC:
            problems.append(f"{path.name}: not an MCAP file")
            return
        while True:
            offset = file.tell()
            header = file.read(9)
            opcode, length = struct.unpack("<BQ", header) if len(header) == 9 else (0, 0)  # noqa: PLR2004
            if opcode in {_DATA_END, _FOOTER}:
                return
            body = file.read(min(length, size - offset))
            whole = len(body) == length
            messages, wrong = _messages(state, opcode, body, whole=whole)
            yield from messages
            if opcode == 0 or not whole:
                problems.append(
                    f"{path.name}: the recording breaks off at byte {offset} of {size}, "
                    f"its end is missing"
                )
                return
            if wrong:
                problems.append(
                    f"{path.name}: {length} bytes at byte {offset} are damaged ({wrong})"
                )


def _messages(
    state: _McapScan, opcode: int, body: bytes, *, whole: bool
) -> tuple[list[Record], str]:
    """Return the messages of a record of the file, and what is wrong with it."""
    try:
        if opcode == _CHUNK:
            return state.chunk(body, whole=whole)
        message = state.record(opcode, body) if whole else None
    except (ValueError, struct.error, RuntimeError, zstd.ZstdError) as error:
        return [], str(error)
    return ([] if message is None else [message]), ""


def _decompress_chunk(compression: str, data: memoryview) -> memoryview:
    """Return the content of a chunk, or as much of it as a cut one still holds."""
    if compression == "":
        return data
    if compression == "zstd":
        return memoryview(zstd.ZstdDecompressor().decompress(data))
    if compression == "lz4":
        return memoryview(lz4.frame.LZ4FrameDecompressor().decompress(data))
    raise ValueError(f"unknown chunk compression {compression!r}")


def _string(body: bytes | memoryview, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", body, offset)
    end = offset + 4 + length
    if end > len(body):
        raise ValueError("a string exceeds its record")
    return str(body[offset + 4 : end], "utf-8"), end


def _string_map(body: bytes | memoryview, offset: int) -> dict[str, str]:
    (length,) = struct.unpack_from("<I", body, offset)
    position, end = offset + 4, min(offset + 4 + length, len(body))
    entries: dict[str, str] = {}
    while position < end:
        key, position = _string(body, position)
        entries[key], position = _string(body, position)
    return entries


def _parse_qos(text: str) -> tuple[Qos, ...]:
    """Return the QoS profiles of a bag, none where they are unreadable: messages matter more."""
    try:
        return tuple(parse_qos(yaml.safe_load(text) or []))
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return ()


def _scan_sqlite(path: Path, problems: list[str]) -> Iterator[Record]:
    try:
        connection = _open_sqlite(path)
    except sqlite3.Error as error:
        problems.append(f"{path.name}: not a readable SQLite bag ({error})")
        return
    try:
        channels = _sqlite_channels(connection)
        position = missed = lost = 0
        while True:
            try:
                rows = connection.execute(
                    "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id",
                    (position,),
                )
                for row, topic, timestamp_ns, data in rows:
                    _check_row(row > position and topic in channels and isinstance(data, bytes))
                    position, lost, missed = row, lost + missed, 0
                    yield Record(channels[topic], timestamp_ns, data)
                break
            except sqlite3.DatabaseError:
                position, missed = position + 1, missed + 1
                if missed > _MAX_ROWS_MISSED:
                    break
        if lost:
            problems.append(f"{path.name}: {lost} messages in between are damaged")
        if missed:
            last = position - missed
            problems.append(f"{path.name}: nothing is readable after message {last}")
    except sqlite3.Error as error:
        problems.append(f"{path.name}: not a readable SQLite bag ({error})")
    finally:
        connection.close()


def _check_row(plausible: object) -> None:
    if not plausible:
        raise sqlite3.DatabaseError("a damaged page was read as a row")


def _open_sqlite(path: Path) -> sqlite3.Connection:
    """Open a bag for reading with its write-ahead log, without it where the folder is read-only."""
    name = quote(str(path.resolve()))
    connection = sqlite3.connect(f"file:{name}?mode=ro", uri=True)
    try:
        _accept_short_file(connection)
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        connection = sqlite3.connect(f"file:{name}?immutable=1", uri=True)
        _accept_short_file(connection)
    return connection


def _accept_short_file(connection: sqlite3.Connection) -> None:
    # Without it SQLite refuses every query on a file that is shorter than its header says.
    connection.execute("PRAGMA writable_schema=ON")


def _sqlite_channels(connection: sqlite3.Connection) -> dict[int, Channel]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
    qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
    rows = connection.execute(f"SELECT id, name, type, serialization_format, {qos} FROM topics")  # noqa: S608
    return {row[0]: Channel(row[1], row[2], row[3], _parse_qos(row[4])) for row in rows}
