"""Reads a bag ahead of its consumer, so that disk and decompression cost no time."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from queue import Empty, Queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deeplab_miou.bags.contents import BagMessage

_MOST_MESSAGES = 8
_LOOK_S = 0.01


@contextmanager
def reading_ahead(messages: Iterator[BagMessage]) -> Iterator[Iterator[BagMessage]]:
    """Yield the same messages, read by a thread that is a few of them ahead.

    What ends the reading, an error too, comes after the messages before it. On leaving, the thread
    has ended: the bag may be closed.

    Args:
        messages: of a reader that is not used elsewhere at the same time.
    """
    read: Queue[BagMessage | BaseException | None] = Queue(_MOST_MESSAGES)
    leaving = threading.Event()
    thread = threading.Thread(
        target=_read, args=(messages, read, leaving), name="deeplab-miou-reader", daemon=True
    )
    thread.start()
    try:
        yield _taken(read)
    finally:
        leaving.set()
        while thread.is_alive():
            # Make room for what it may be waiting to hand over.
            with suppress(Empty):
                read.get(timeout=_LOOK_S)


def _read(
    messages: Iterator[BagMessage],
    read: Queue[BagMessage | BaseException | None],
    leaving: threading.Event,
) -> None:
    end: BaseException | None = None
    try:
        for message in messages:
            read.put(message)
            if leaving.is_set():
                return
    except BaseException as error:  # noqa: BLE001  (handed over, never swallowed)
        end = error
    read.put(end)


def _taken(read: Queue[BagMessage | BaseException | None]) -> Iterator[BagMessage]:
    while True:
        found = read.get()
        if found is None:
            return
        if isinstance(found, BaseException):
            raise found
        yield found
