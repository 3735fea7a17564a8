"""Keeps messages until their partners are read, in bounded memory."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO

    from typing_extensions import Self

    from deeplab_miou.bags.contents import BagMessage

# Labels that lie seconds behind their images stay in memory.
_MEMORY_BYTES = 256 * 2**20


class HeldMessages:
    """Messages by number; what exceeds the memory allowed goes into a temporary file.

    A context manager. The file is made in the system's folder for such files (``TMPDIR``) and is
    gone when the process ends, however it ends.

    Args:
        memory_bytes: most payload kept in memory.

    Attributes:
        spilled_bytes: payload that went into the file so far.
    """

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self.spilled_bytes = 0
        self._used_bytes = 0
        self._in_memory: dict[int, BagMessage] = {}
        self._on_disk: dict[int, tuple[BagMessage, int, int]] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()

    def put(self, number: int, message: BagMessage) -> None:
        """Keep a message.

        Raises:
            OSError: the disk does not take it.
        """
        size = len(message.data)
        if self._used_bytes + size <= self._memory_bytes:
            self._used_bytes += size
            self._in_memory[number] = message
            return
        if self._file is None:
            self._file = TemporaryFile(prefix="deeplab_miou_")  # noqa: SIM115  (closed on leaving)
        place = self._file.seek(0, 2) if self._on_disk else self._file.seek(0)
        self._file.write(message.data)
        self.spilled_bytes += size
        self._on_disk[number] = (message._replace(data=b""), place, size)

    def take(self, number: int) -> BagMessage | None:
        """Return a message, which is kept no longer; None if it is not here."""
        if number in self._in_memory:
            message = self._in_memory.pop(number)
            self._used_bytes -= len(message.data)
            return message
        if number not in self._on_disk or self._file is None:
            return None
        message, place, size = self._on_disk.pop(number)
        self._file.seek(place)
        return message._replace(data=self._file.read(size))
