"""Settings of the C library's allocator for a process that takes megabytes again and again."""

from __future__ import annotations

import ctypes
import os

# mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory(*, largest_block: int = 32 << 20, most: int = 256 << 20) -> None:
    """Have the C library keep freed memory for the next frame.

    By default glibc decides by chance whether the memory of a large message goes back to the system
    when it is freed. If so, getting the pages of the next one costs more than copying it: a bare
    subscriber of 640x480 then takes a third as many frames. Settings in the environment are left as
    they are, and so are other C libraries.

    Args:
        largest_block: bytes; larger blocks go back at once. Some versions take 32 MiB at most.
        most: bytes of free memory at the end of the heap; what is beyond goes back.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(os.environ.get(name) for name in _VARIABLES):
        mallopt(_M_MMAP_THRESHOLD, largest_block)
        mallopt(_M_TRIM_THRESHOLD, most)


def release_freed_memory() -> None:
    """Give back to the system what `keep_freed_memory` had kept."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
