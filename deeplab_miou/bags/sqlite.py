"""What can still be read of a damaged SQLite bag, where `rosbags` wants an intact one.

A recorder that crashes leaves a file cut short, or its newest messages in a write-ahead log. It can
be walked row by row.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from deeplab_miou.bags.records import Channel, Record, read_qos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A lost inner page of a table hides a few thousand rows; beyond that the rest is taken for lost.
_MAX_ROWS_MISSED = 10_000


def scan_sqlite(path: Path, problems: list[str]) -> Iterator[Record]:
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


def _open(path: Path) -> sqlite3.Connection:
    """Open a bag for reading with its write-ahead log, without it where the folder is read-only."""
    name = quote(str(path.resolve()))
    try:
        return _connect(f"file:{name}?mode=ro")
    except sqlite3.OperationalError:
        return _connect(f"file:{name}?immutable=1")


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True)
    try:
        _accept_short_file(connection)
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _accept_short_file(connection: sqlite3.Connection) -> None:
    # Without it SQLite refuses every query on a file that is shorter than its header says.
    connection.execute("PRAGMA writable_schema=ON")


def _channels(connection: sqlite3.Connection) -> dict[int, Channel]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
    qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
    rows = connection.execute(f"SELECT id, name, type, serialization_format, {qos} FROM topics")  # noqa: S608
    return {row[0]: Channel(row[1], row[2], row[3], read_qos(row[4])) for row in rows}
