"""What is shown at the moment, in parts that change one by one."""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Part(NamedTuple):
    """One part as it is sent.

    Attributes:
        name: of the part, which is the name of its event.
        version: grows with each change.
        data: JSON, UTF-8, on one line.
    """

    name: str
    version: int
    data: bytes


class Board:
    """Holds the newest content of each part; thread-safe.

    Readers ask for what has changed since they last did, so that a slow one misses what is
    out of date and nothing is queued for anybody.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._on_change: Callable[[], None] = lambda: None

    def put(self, name: str, content: object) -> None:
        """Replace a part.

        Args:
            name: of the part.
            content: what `to_json` takes.
        """
        data = to_json(content)
        with self._lock:
            before = self._parts.get(name)
            if before is not None and before.data == data:
                return
            self._parts[name] = Part(name, 1 if before is None else before.version + 1, data)
            on_change = self._on_change
        on_change()

    def changes(self, seen: Mapping[str, int]) -> list[Part]:
        """Return the parts that are newer than the versions that were seen."""
        with self._lock:
            return [part for part in self._parts.values() if part.version > seen.get(part.name, 0)]

    def listen(self, on_change: Callable[[], None]) -> None:
        """Register a function that is called after each change, in the thread that made it."""
        with self._lock:
            self._on_change = on_change


def to_json(content: object) -> bytes:
    """Return JSON in UTF-8 on one line.

    Args:
        content: mappings, sequences, strings, numbers and None; NaN and infinities become null,
            which JSON has instead.
    """
    return json.dumps(_finite(content), allow_nan=False, separators=(",", ":")).encode()


def _finite(content: object) -> object:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return content
