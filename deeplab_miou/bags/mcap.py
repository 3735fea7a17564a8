"""Reads as much of an MCAP file as possible, without its index.

A recorder that crashes leaves a file without index and footer. It can be walked from the front,
record by record (https://mcap.dev/spec).
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import TYPE_CHECKING

import lz4.frame  # type: ignore[import-untyped]

from deeplab_miou.bags.compression import LARGEST_BYTES, decompress_start, unpack
from deeplab_miou.bags.contents import Channel, StoredMessage
from deeplab_miou.bags.metadata import read_qos

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"
_MESSAGE_HEAD = 22  # channel, sequence and two times
_SCHEMA, _CHANNEL, _MESSAGE, CHUNK, _DATA_END, FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02


def scan_mcap(
    path: Path, problems: list[str], channels: Mapping[int, Channel]
) -> Iterator[StoredMessage]:
    """Yield every readable message of an MCAP file.

    Args:
        path: the file.
        problems: gets a line for everything that could not be read.
        channels: channels by id where the file's index could be read, else none; its first chunk,
            which declares them, may be what is damaged.

    Yields:
        Messages in file order; those of one chunk in time order.
    """
    state = McapRecords(channels)
    with path.open("rb") as file:
        size = path.stat().st_size
        if file.read(len(MAGIC)) != MAGIC:
            problems.append(f"{path.name}: not an MCAP file")
            return
        while True:
            offset = file.tell()
            header = file.read(9)
            opcode, length = struct.unpack("<BQ", header) if len(header) == 9 else (0, 0)  # noqa: PLR2004
            if opcode in {_DATA_END, FOOTER}:
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


class McapRecords:
    """Reads the records of one MCAP file; knows the schemas and channels seen so far.

    Args:
        channels: those known already, by id.

    Attributes:
        channels: those known so far.
    """

    def __init__(self, channels: Mapping[int, Channel]) -> None:
        self._schemas: dict[int, str] = {}
        self.channels: dict[int, Channel] = dict(channels)

    def record(self, opcode: int, body: bytes | memoryview) -> StoredMessage | None:
        """Take one record; a message is returned, schemas and channels are remembered."""
        if opcode == _SCHEMA:
            (number,) = struct.unpack_from("<H", body)
            self._schemas[number] = _string(body, 2)[0]
        elif opcode == _CHANNEL:
            number, schema = struct.unpack_from("<HH", body)
            topic, end = _string(body, 4)
            serialization, end = _string(body, end)
            qos = _string_map(body, end).get("offered_qos_profiles", "")
            self.channels[number] = Channel(
                topic, self._schemas.get(schema, ""), serialization, read_qos(qos)
            )
        elif opcode == _MESSAGE:
            channel, timestamp_ns = self._message(body)
            return StoredMessage(channel, timestamp_ns, bytes(body[_MESSAGE_HEAD:]))
        return None

    def chunk(self, body: bytes, *, whole: bool) -> tuple[Iterator[StoredMessage], str]:
        """Return the readable messages of a chunk in time order, and what is wrong with it.

        Messages are copied out of the chunk one by one, so that it is not held twice.
        """
        _, _, size, crc = struct.unpack_from("<QQQI", body)
        compression, end = _string(body, 28)
        if whole and size > LARGEST_BYTES:
            raise ValueError(f"it unpacks to {size} bytes, at most {LARGEST_BYTES} are read")
        content = _decompress_chunk(compression, memoryview(body)[end + 8 :])
        if whole and (len(content) != size or (crc and crc32(content) != crc)):
            raise ValueError("its content does not match its size and checksum")
        found: list[tuple[int, Channel, memoryview]] = []
        wrong = ""
        position = 0
        while position < len(content):
            rest = len(content) - position - 9
            opcode, length = struct.unpack_from("<BQ", content, position) if rest >= 0 else (0, 0)
            if opcode == 0 or length > rest:
                wrong = f"its records break off at byte {position} of {len(content)}"
                break
            position += 9
            part = content[position : position + length]
            try:
                if opcode == _MESSAGE:
                    channel, timestamp_ns = self._message(part)
                    found.append((timestamp_ns, channel, part[_MESSAGE_HEAD:]))
                else:
                    self.record(opcode, part)
            except (ValueError, struct.error) as error:
                wrong = str(error)
            position += length
        found.sort(key=lambda message: message[0])
        records = (StoredMessage(channel, time_ns, bytes(data)) for time_ns, channel, data in found)
        return records, wrong

    def _message(self, body: bytes | memoryview) -> tuple[Channel, int]:
        """Return channel and recording time of a message."""
        number, _, timestamp_ns, _ = struct.unpack_from("<HIQQ", body)
        if number not in self.channels:
            raise ValueError(f"message of the undeclared channel {number}")
        return self.channels[number], timestamp_ns


def _messages(
    state: McapRecords, opcode: int, body: bytes, *, whole: bool
) -> tuple[Iterable[StoredMessage], str]:
    """Return the messages of a record of the file, and what is wrong with it."""
    try:
        if opcode == CHUNK:
            return state.chunk(body, whole=whole)
        message = state.record(opcode, body) if whole else None
    except (ValueError, struct.error, RuntimeError) as error:
        return [], str(error)
    return ([] if message is None else [message]), ""


def _decompress_chunk(compression: str, data: memoryview) -> memoryview:
    """Return the content of a chunk, or as much of it as a cut one still holds."""
    if compression == "":
        return data
    if compression == "zstd":
        return memoryview(decompress_start(data))
    if compression == "lz4":
        return memoryview(unpack(lz4.frame.LZ4FrameDecompressor(), data))
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
