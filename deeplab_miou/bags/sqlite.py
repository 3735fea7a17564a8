"""SQLite bags, intact or damaged.

A recorder that crashes leaves a file cut short, or its newest messages in a write-ahead log. It can
be walked row by row.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from deeplab_miou.bags.contents import Channel, StoredMessage
from deeplab_miou.bags.metadata import read_qos
from deeplab_miou.text import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

# A lost inner page of a table hides a few thousand rows; beyond that the rest counts as lost.
_MAX_ROWS_MISSED = 10_000


class SqliteBag:
    """An undamaged SQLite bag, with its write-ahead log if there is one.

    Args:
        path: the file.

    Attributes:
        channels: number of messages of each channel.
        start_ns: recording time of the first message.
        end_ns: of the last; before `start_ns` if there is none.

    Raises:
        sqlite3.Error: the file is damaged, or holds what no recorder writes.
    """

    def __init__(self, path: Path) -> None:
        self.channels: Counter[Channel] = Counter()
        self.start_ns, self.end_ns = 0, -1
        self._connection = _open(path)
        try:
            self._by_id = _channels(self._connection)
            self._count()
        except sqlite3.Error:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def messages(
        self, topics: Collection[str], start_ns: int, stop_ns: int
    ) -> Iterator[StoredMessage]:
        """Yield the messages of topics recorded in a span of time, in recording order.

        Raises:
            sqlite3.Error: the file is damaged.
        """
        wanted = {number for number, channel in self._by_id.items() if channel.topic in topics}
        # Rows are sorted without their data, which may be gigabytes.
        rows = self._connection.execute(
            "SELECT id, topic_id, timestamp FROM messages WHERE timestamp >= ? AND timestamp < ? "
            "ORDER BY timestamp, id",
            (start_ns, stop_ns),
        )
        for row, topic, timestamp_ns in rows:
            if topic not in wanted:
                continue
            found = self._connection.execute("SELECT data FROM messages WHERE id = ?", (row,))
            (data,) = found.fetchone() or (None,)
            if not isinstance(data, bytes):
                raise sqlite3.DatabaseError(f"row {row} holds no message")
            yield StoredMessage(self._by_id[topic], timestamp_ns, data)

    def _count(self) -> None:
        counts = self._connection.execute(
            "SELECT topic_id, count(*), min(timestamp), max(timestamp), "
            "total(typeof(timestamp) != 'integer') FROM messages GROUP BY topic_id"
        ).fetchall()
        _check_row(not any(odd or topic not in self._by_id for topic, *_, odd in counts))
        self.channels.update(dict.fromkeys(self._by_id.values(), 0))
        for topic, count, *_ in counts:
            self.channels[self._by_id[topic]] += count
        if counts:
            self.start_ns = min(first for _, _, first, _, _ in counts)
            self.end_ns = max(last for _, _, _, last, _ in counts)


def scan_sqlite(path: Path, problems: list[str]) -> Iterator[StoredMessage]:
    """Yield every readable message of a SQLite file.

    Args:
        path: the file.
        problems: gets a line for everything that could not be read.

    Yields:
        Messages in file order.
    """
    try:
        connection = _open(path)
    except sqlite3.Error as error:
        problems.append(f"{path.name}: not a readable SQLite bag ({error})")
        return
    try:
        channels = _channels(connection)
        position = missed = lost = 0
        while True:
            try:
                rows = connection.execute(
                    "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id",
                    (position,),
                )
                for row, topic, timestamp_ns, data in rows:
                    _check_row(
                        row > position
                        and topic in channels
                        and isinstance(data, bytes)
                        and isinstance(timestamp_ns, int)
                    )
                    position, lost, missed = row, lost + missed, 0
                    yield StoredMessage(channels[topic], timestamp_ns, data)
                break
            except sqlite3.DatabaseError:
                position, missed = position + 1, missed + 1
                if missed > _MAX_ROWS_MISSED:
                    break
        if lost:
            problems.append(f"{path.name}: {plural(lost, 'damaged message')}")
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


def _open(path: Path) -> sqlite3.Connection:
    """Open a bag for reading with its write-ahead log, without it where the folder is read-only."""
    name = quote(os.fsencode(path.resolve()))
    try:
        return _connect(f"file:{name}?mode=ro")
    except sqlite3.OperationalError:
        return _connect(f"file:{name}?immutable=1")


def _connect(address: str) -> sqlite3.Connection:
    # One thread at a time: that which reads ahead, or that which waits for it.
    connection = sqlite3.connect(address, uri=True, check_same_thread=False)
    connection.text_factory = _text
    try:
        _accept_short_file(connection)
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _text(data: bytes) -> str:
    # Where text is none, SQLite would complain of a row, Python of the whole query.
    return data.decode(errors="replace")


def _accept_short_file(connection: sqlite3.Connection) -> None:
    # Without it SQLite refuses every query on a file that is shorter than its header says.
    connection.execute("PRAGMA writable_schema=ON")


def _channels(connection: sqlite3.Connection) -> dict[int, Channel]:
    for table in ("topics", "messages"):
        _check_table(connection, table)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
    qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
    rows = connection.execute(f"SELECT id, name, type, serialization_format, {qos} FROM topics")  # noqa: S608
    channels = {}
    for number, name, kind, serialization, profiles in rows:
        if not all(isinstance(text, str) for text in (name, kind, serialization)):
            raise sqlite3.DatabaseError(
                f"topic {number} has a name, type or format that is not text"
            )
        channels[number] = Channel(name, kind, serialization, read_qos(str(profiles)))
    return channels


def _check_table(connection: sqlite3.Connection, name: str) -> None:
    """Accept stored rows only: a view computes whatever it likes, for as long as it likes."""
    found = connection.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (name,))
    kinds = [(kind, str(sql)) for kind, sql in found if kind in {"table", "view"}]
    if [kind for kind, _ in kinds] != ["table"] or "VIRTUAL" in kinds[0][1].upper():
        raise sqlite3.DatabaseError(f"expected one table {name!r}")
    columns = connection.execute(f"PRAGMA table_xinfo({name})")
    if any(hidden for *_, hidden in columns):
        raise sqlite3.DatabaseError(f"table {name!r} has columns that are computed")
