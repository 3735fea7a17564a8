"""Settings of the C library's allocator for a process that takes megabytes again and again."""

from __future__ import annotations

import ctypes
import os

# mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# Larger blocks still go back to the system at once; it is the most that every glibc accepts.
_LARGEST_KEPT = 32 << 20
# Free memory at the end of the heap beyond this goes back too.
_MOST_KEPT = 256 << 20
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next message, at most some 256 MiB.

    By default glibc decides by chance whether the memory of a large message goes back to the system
    when it is freed. If so, getting the pages of the next one costs more than copying it: a bare
    subscriber of 640x480 then takes a third as many frames. Settings in the environment are left as
    they are, and so are other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(os.environ.get(name) for name in _VARIABLES):
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def release_freed_memory() -> None:
    """Give back to the system what `keep_freed_memory` had kept."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
