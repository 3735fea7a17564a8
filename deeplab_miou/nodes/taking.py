"""Takes messages from a subscription; serialised ones without the interpreter lock.

rclpy copies a serialised message three times, and holds the lock all the while: no other thread
counts meanwhile. The C function below it copies once less and needs no lock. It is called through
ctypes; where the C libraries are not found under their usual names, rclpy takes the messages.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.subscription import Subscription

# rcl/types.h
_OK = 0
_TAKE_FAILED = 401
_ERROR_LENGTH = 1024
_PROBE = 64


class _Allocator(ctypes.Structure):
    """``rcutils_allocator_t``."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")
    ]


class _Array(ctypes.Structure):
    """``rcutils_uint8_array_t``, which ``rcl_serialized_message_t`` is."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    ]


class _ErrorText(ctypes.Structure):
    """``rcutils_error_string_t``."""

    _fields_ = [("text", ctypes.c_char * _ERROR_LENGTH)]


class _Native(NamedTuple):
    """The functions called, and the allocator that messages come from."""

    take: Callable[..., int]
    allocator: object
    make: Callable[..., int]
    free: Callable[..., int]
    error: Callable[[], _ErrorText]
    reset_error: Callable[[], None]


class Serialized:
    """A message in memory of the C library, which is freed with it; an array of its bytes.

    Args:
        native: the functions.
        capacity: bytes to reserve.
    """

    def __init__(self, native: _Native, capacity: int) -> None:
        self.array = _Array()
        self.reference = ctypes.byref(self.array)
        self._free = native.free
        if native.make(self.reference, capacity, native.allocator) != _OK:
            raise MemoryError(f"no memory for a message of {capacity} bytes")

    def __del__(self) -> None:
        """Free the memory."""
        if self.array.buffer is not None:
            self._free(self.reference)

    @property
    def __array_interface__(self) -> dict[str, object]:
        """What NumPy asks for: whoever has the array holds this object."""
        return {
            "shape": (self.array.length,),
            "typestr": "|u1",
            "data": (self.array.buffer, True),
            "version": 3,
        }


class _SerializedTaker:
    """Takes serialised messages; for one thread.

    Args:
        pointer: the subscription.
        native: the functions.
    """

    def __init__(self, pointer: int, native: _Native) -> None:
        self._pointer = pointer
        self._native = native
        self._next = Serialized(native, 1)

    def __call__(self) -> memoryview | None:
        """Return the next message, None if none is waiting."""
        message = self._next
        code = self._native.take(self._pointer, message.reference, None, None)
        if code == _OK:
            # The next one is likely as large.
            self._next = Serialized(self._native, max(1, message.array.length))
            return memoryview(np.asarray(message))
        if code == _TAKE_FAILED:
            return None
        text = self._native.error().text.decode(errors="replace")
        self._native.reset_error()
        raise RuntimeError(f"a message could not be taken: {text}")


def make_taker(subscription: Subscription) -> Callable[[], object | None]:
    """Return what takes a subscription's next message, and gives None when none is waiting.

    Messages of a subscription with ``raw`` are their bytes in CDR, as a buffer. The caller holds
    the subscription's handle in use.
    """
    handle, kind, raw = subscription.handle, subscription.msg_type, subscription.raw
    native = load_native() if raw else None
    if native is not None:
        return _SerializedTaker(handle.pointer, native)

    def take() -> object | None:
        taken = handle.take_message(kind, raw)
        return None if taken is None else taken[0]

    return take


@functools.cache
def load_native() -> _Native | None:
    """Return the C functions, None where they are not as expected."""
    try:
        # Both are loaded already: rclpy is made of them.
        # What takes no time is called without giving up the lock, which does.
        rcl, rcutils = ctypes.CDLL("librcl.so"), ctypes.PyDLL("librcutils.so")
        allocator = _function(rcutils.rcutils_get_default_allocator, _Allocator, 0)()
        native = _Native(
            take=_function(rcl.rcl_take_serialized_message, ctypes.c_int, 4),
            allocator=ctypes.byref(allocator),
            make=_function(
                rcutils.rcutils_uint8_array_init,
                ctypes.c_int,
                (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p),
            ),
            free=_function(rcutils.rcutils_uint8_array_fini, ctypes.c_int, 1),
            error=_function(rcutils.rcutils_get_error_string, _ErrorText, 0),
            reset_error=_function(rcutils.rcutils_reset_error, None, 0),
        )
    except (OSError, AttributeError):
        return None
    probe = Serialized(native, _PROBE)
    found = (probe.array.length, probe.array.capacity, probe.array.allocator.allocate)
    return native if found == (0, _PROBE, allocator.allocate) else None


def _function(
    function: Callable[..., object], result: object, arguments: int | tuple[object, ...]
) -> Callable[..., object]:
    if isinstance(arguments, int):
        arguments = (ctypes.c_void_p,) * arguments
    function.restype, function.argtypes = result, arguments
    return function
