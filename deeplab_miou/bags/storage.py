"""One storage file of a bag: through `rosbags`, and by scanning where that fails."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader

from deeplab_miou.bags.mcap import scan_mcap
from deeplab_miou.bags.records import Channel, Record
from deeplab_miou.bags.sqlite import scan_sqlite

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator
    from pathlib import Path


class StorageFile:
    """One storage file, read through rosbags, and by scanning where that fails.

    Args:
        path: an ``.mcap`` or ``.db3`` file.

    Attributes:
        path: the file.
        problems: what opening it found damaged, a line each.
        channels: number of messages of each channel.
        start_ns: recording time of the first message.
        end_ns: recording time of the last; before `start_ns` when there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.channels: Counter[Channel] = Counter()
        self.start_ns = 0
        self.end_ns = -1
        self._reader: Reader | None = None
        if not _has_write_ahead_log(path):
            self._open()
        if self._reader is None:
            self._survey()

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def records(
        self,
        topics: Collection[str],
        start_ns: int | None,
        stop_ns: int | None,
        problems: list[str],
    ) -> Iterator[Record]:
        """Yield messages; after a failure of rosbags those that it had not come to.

        Args:
            topics: names to read.
            start_ns: only messages recorded at or after this time.
            stop_ns: only messages recorded before this time.
            problems: gets a line for everything that cannot be read.

        Yields:
            Messages in recording order, of a damaged file in file order.
        """
        seen: Counter[tuple[str, int]] = Counter()
        expected = self._expected(topics, start_ns, stop_ns)
        if self._reader is not None:
            whole = yield from self._read(self._reader, topics, start_ns, stop_ns, seen)
            # Zeroed records are skipped without a word: hold what was read to the index.
            if whole and seen.total() >= expected:
                return
        total = seen.total()
        found: list[str] = []
        for record in self._scan(found):
            key = (record.channel.topic, record.timestamp_ns)
            if seen[key]:
                seen[key] -= 1
            elif record.channel.topic in topics and _within(record, start_ns, stop_ns):
                total += 1
                yield record
        if total < expected and self._reader is not None:
            found.append(f"{self.path.name}: {expected - total} of {expected} messages are missing")
        problems += found

    def _read(
        self,
        reader: Reader,
        topics: Collection[str],
        start_ns: int | None,
        stop_ns: int | None,
        seen: Counter[tuple[str, int]],
    ) -> Generator[Record, None, bool]:
        """Yield what rosbags reads, noting it in `seen`; returns whether it came to the end."""
        wanted = [each for each in reader.connections if each.topic in topics]
        try:
            # Without a connection rosbags would read them all.
            for connection, timestamp_ns, data in (
                reader.messages(wanted, start_ns, stop_ns) if wanted else ()
            ):
                seen[connection.topic, timestamp_ns] += 1
                yield Record(_channel(connection), timestamp_ns, data)
        except Exception:  # noqa: BLE001  (damage surfaces as whatever parsing hits)
            return False
        return True

    def _expected(self, topics: Collection[str], start_ns: int | None, stop_ns: int | None) -> int:
        """Return how many messages the index promises; 0 for part of the time, it cannot tell."""
        if (start_ns is not None and start_ns > self.start_ns) or (
            stop_ns is not None and stop_ns <= self.end_ns
        ):
            return 0
        return sum(n for channel, n in self.channels.items() if channel.topic in topics)

    def _scan(self, problems: list[str]) -> Iterator[Record]:
        known = self._reader.connections if self._reader is not None else []
        channels = {connection.id: _channel(connection) for connection in known}
        try:
            if self.path.suffix == ".mcap":
                yield from scan_mcap(self.path, problems, channels)
            else:
                yield from scan_sqlite(self.path, problems)
        except OSError as error:
            problems.append(f"{self.path.name}: {error}")

    def _open(self) -> None:
        reader = Reader(self.path)
        try:
            reader.open()
        except Exception:  # noqa: BLE001  (damage surfaces as whatever parsing hits)
            return
        self._reader = reader
        for connection in reader.connections:
            self.channels[_channel(connection)] += connection.msgcount
        if reader.message_count:
            self.start_ns, self.end_ns = reader.start_time, reader.end_time - 1

    def _survey(self) -> None:
        """Learn the topics of a damaged file by reading all of it once."""
        for record in self._scan(self.problems):
            if not self.channels:
                self.start_ns = self.end_ns = record.timestamp_ns
            self.channels[record.channel] += 1
            self.start_ns = min(self.start_ns, record.timestamp_ns)
            self.end_ns = max(self.end_ns, record.timestamp_ns)


def _within(record: Record, start_ns: int | None, stop_ns: int | None) -> bool:
    after = start_ns is None or record.timestamp_ns >= start_ns
    return after and (stop_ns is None or record.timestamp_ns < stop_ns)


def _channel(connection: Connection) -> Channel:
    extension = connection.ext
    if not isinstance(extension, ConnectionExtRosbag2):
        raise TypeError(f"expected a rosbag2 connection, got {connection!r}")
    return Channel(
        connection.topic,
        connection.msgtype,
        extension.serialization_format,
        tuple(extension.offered_qos_profiles),
    )


def _has_write_ahead_log(path: Path) -> bool:
    """Return whether SQLite's newest messages are in a log, which rosbags does not read."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0
