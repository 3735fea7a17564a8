"""Compiles loops with Numba and keeps their machine code where processes share it.

Compilation is cached on disk in the first writable of ``NUMBA_CACHE_DIR``, the package's own
``__pycache__``, the user's cache directory and a private directory under the temporary one; with
none of them loops are compiled once a process. A file lock makes processes that start together
compile once.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: two processes may compile the same twice
    fcntl = None  # type: ignore[assignment]

# A label map, which may be the view of a message.
LABEL_MAP = numba.types.Array(numba.types.uint8, 2, "C", readonly=True)

_lock = threading.Lock()
_compiled: dict[tuple[str, tuple[Any, ...]], Callable[..., Any]] = {}


def array_type(element: str, dimensions: int) -> Any:  # noqa: ANN401 - numba is untyped
    """Return the Numba type of contiguous arrays that are written to.

    Args:
        element: name of a Numba type.
        dimensions: how many.
    """
    return numba.types.Array(getattr(numba.types, element), dimensions, "C")


def compiled(function: Callable[..., Any], signature: tuple[Any, ...]) -> Callable[..., Any]:
    """Return a loop compiled for one signature and no other; it releases the interpreter lock.

    Args:
        function: a function of a module, of what Numba understands.
        signature: Numba types of its arguments.
    """
    key = (function.__name__, signature)
    found = _compiled.get(key)
    if found is None:
        with _lock:
            found = _compiled.get(key)
            if found is None:
                found = _compiled[key] = _compile(function, signature)
    return found


def _compile(function: Callable[..., Any], signature: tuple[Any, ...]) -> Callable[..., Any]:
    """Compile or load one signature; a damaged cache is cleared and an unusable one is left out."""
    for _ in range(2):
        dispatcher = _cached_dispatcher(function)
        if dispatcher is None:
            break
        directory = Path(dispatcher.stats.cache_path)
        try:
            with _locked(directory):
                dispatcher.compile(signature)
        except Exception:  # noqa: BLE001 - unpickling a truncated file raises almost anything
            _clear(directory, function)
            continue
        dispatcher.disable_compile()
        return dispatcher  # type: ignore[no-any-return]
    dispatcher = numba.njit(nogil=True)(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher  # type: ignore[no-any-return]


def _cached_dispatcher(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - numba is untyped
    """Return a caching dispatcher, or None where no directory can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # "no locator available": neither the package nor HOME is writable
        directory = _private_directory()
    if directory is None:
        return None
    configured = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory)
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return None
    finally:
        numba.config.CACHE_DIR = configured


def _private_directory() -> Path | None:
    """Return a directory of ours alone: who can write to the cache decides what code runs here."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    directory = Path(tempfile.gettempdir()) / f"deeplab_miou_cache_{user}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return None
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or shared or found.st_uid != user:
        return None
    return directory


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the cache's file lock; Numba itself numbers its files without one."""
    if fcntl is None:  # pragma: no cover
        yield
        return
    try:
        descriptor = os.open(directory / "deeplab_miou.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks: as without fcntl
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(directory: Path, function: Callable[..., Any]) -> None:
    module = function.__module__.rpartition(".")[2]
    for path in (*directory.glob(f"{module}.*.nbi"), *directory.glob(f"{module}.*.nbc")):
        with contextlib.suppress(OSError):
            path.unlink()
