"""One storage file of a bag: read by its index, or by scanning if that fails."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from typing import TYPE_CHECKING

from deeplab_miou.bags.mcap import scan_mcap
from deeplab_miou.bags.mcap_index import IndexedMcap, NoIndexError
from deeplab_miou.bags.sqlite import SqliteBag, scan_sqlite
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator
    from pathlib import Path

    from deeplab_miou.bags.contents import Channel, StoredMessage

# What parsing a damaged file may hit.
DAMAGE = (ValueError, struct.error, sqlite3.Error, OSError, RuntimeError, MemoryError)
_END_OF_TIME = 2**63 - 1


class StorageFile:
    """One storage file, read by its index, and by scanning where that fails.

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
        self._reader: IndexedMcap | SqliteBag | None = None
        self._open()
        if self._reader is None:
            self._survey()

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def messages(
        self,
        topics: Collection[str],
        start_ns: int | None,
        stop_ns: int | None,
        problems: list[str],
    ) -> Iterator[StoredMessage]:
        """Yield messages; after damage those that it had not come to.

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
            span = (
                0 if start_ns is None else start_ns,
                _END_OF_TIME if stop_ns is None else stop_ns,
            )
            whole = yield from self._read(self._reader, topics, span, seen)
            # Zeroed records are skipped without a word: hold what was read to the index.
            if whole and seen.total() >= expected:
                return
        total = seen.total()
        found: list[str] = []
        for message in self._scan(found):
            key = (message.channel.topic, message.timestamp_ns)
            if seen[key]:
                seen[key] -= 1
            elif message.channel.topic in topics and _within(message, start_ns, stop_ns):
                total += 1
                yield message
        if total < expected and self._reader is not None:
            found.append(
                f"{self.path.name}: {expected - total} of {plural(expected, 'message')} missing"
            )
        problems += found

    def _read(
        self,
        reader: IndexedMcap | SqliteBag,
        topics: Collection[str],
        span: tuple[int, int],
        seen: Counter[tuple[str, int]],
    ) -> Generator[StoredMessage, None, bool]:
        """Yield what the index leads to, noting it in `seen`; returns whether it was all there."""
        try:
            for message in reader.messages(topics, *span):
                seen[message.channel.topic, message.timestamp_ns] += 1
                yield message
        except DAMAGE:
            return False
        return True

    def _expected(self, topics: Collection[str], start_ns: int | None, stop_ns: int | None) -> int:
        """Return how many messages the index promises; 0 for part of the time, it cannot tell."""
        if (start_ns is not None and start_ns > self.start_ns) or (
            stop_ns is not None and stop_ns <= self.end_ns
        ):
            return 0
        return sum(n for channel, n in self.channels.items() if channel.topic in topics)

    def _scan(self, problems: list[str]) -> Iterator[StoredMessage]:
        channels = self._reader.by_id if isinstance(self._reader, IndexedMcap) else {}
        try:
            if self.path.suffix == ".mcap":
                yield from scan_mcap(self.path, problems, channels)
            else:
                yield from scan_sqlite(self.path, problems)
        except OSError as error:
            problems.append(f"{self.path.name}: {error}")

    def _open(self) -> None:
        try:
            self._reader = (IndexedMcap if self.path.suffix == ".mcap" else SqliteBag)(self.path)
        except DAMAGE as error:
            # Files without an index, and databases, are reported when they are scanned.
            if self.path.suffix == ".mcap" and not isinstance(error, (NoIndexError, OSError)):
                self.problems.append(f"{self.path.name}: its index cannot be used ({error})")
            return
        self.channels += self._reader.channels
        self.channels.update(dict.fromkeys(self._reader.channels, 0))
        self.start_ns, self.end_ns = self._reader.start_ns, self._reader.end_ns

    def _survey(self) -> None:
        """Learn the topics of a damaged file by reading all of it once."""
        for message in self._scan(self.problems):
            if not self.channels:
                self.start_ns = self.end_ns = message.timestamp_ns
            self.channels[message.channel] += 1
            self.start_ns = min(self.start_ns, message.timestamp_ns)
            self.end_ns = max(self.end_ns, message.timestamp_ns)


def _within(message: StoredMessage, start_ns: int | None, stop_ns: int | None) -> bool:
    after = start_ns is None or message.timestamp_ns >= start_ns
    return after and (stop_ns is None or message.timestamp_ns < stop_ns)
